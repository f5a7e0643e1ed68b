"""Train ensembles of networks, all members together in one compiled step.

Every weight has a leading member axis, so that one batched product serves all members.
An epoch is one call of an XLA program. Members differ by their seed, which sets their
initial weights and the order of their samples. They may also differ by their learning
rate. All members are trained on the same samples.
"""

import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock

import numpy as np

from paperlib._support import determinism, tensorflow, validation
from paperlib._support.validation import Floats
from paperlib.learning import compiled_training
from paperlib.learning.checkpoints import Checkpoint
from paperlib.learning.config import TrainingConfig
from paperlib.learning.ensemble import Ensemble
from paperlib.learning.targets import Target
from paperlib.learning.targets.target import FITS
from paperlib.networks.mlp import MLP

__all__ = ["FITS", "TrainingConfig", "train_ensemble"]

# The first integer of a seed distinguishes the streams of random numbers. NumPy pads a
# seed with zeros at its end, so an integer at the end would not distinguish them.
_SAMPLES, _VALIDATION, _WEIGHTS, _ORDER, _DIRECTIONS = range(1, 6)
# Minimum time in seconds between two writes of a checkpoint, so that short epochs do
# not spend their time on writing.
_EVERY = 10.0
# Trainings share compiled programs and their variables, so only one may run at a time.
_LOCK = Lock()


def train_ensemble(
    config: TrainingConfig, target: Target, *, cache: str | Path | None = None
) -> Ensemble:
    """Train one network for each seed on a target.

    Parameters
    ----------
    config : TrainingConfig
        Configuration of the training.
    target : Target
        The function to learn, with the derivatives that `config.fit` names. The
        networks are trained on its values minus their mean, in units of their standard
        deviation.
    cache : path, optional
        Folder that stores the trainings every ten seconds, in files named by their
        configuration. A training that finds its file resumes from it, to the same
        weights bit for bit. A training that finds its complete file returns the stored
        result.

    Returns
    -------
    Ensemble
        The members in the order of `config.seeds`, without those that diverged.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If the target lacks a fitted derivative or returns unfit values, or every member
        diverged.

    Warns
    -----
    UserWarning
        If members diverged; if a file in `cache` is damaged or comes from other code or
        other values, so that the training starts again; or if the process does not run
        in deterministic mode.

    Notes
    -----
    The samples of an epoch are drawn during the training on those of the previous
    epoch. A step spends its time on matrix products and, for fitted derivatives, on the
    derivatives of the activation. SOAP adds its own products, which are the same for
    every fit. The progress bar is shown on a terminal only.

    Examples
    --------
    >>> from paperlib.learning.targets import scattering_length_target
    >>> config = TrainingConfig(
    ...     d=4, hidden=(8,), samples=256, batch=32, steps=16, warmup=0, seeds=(7,)
    ... )
    >>> ensemble = train_ensemble(config, scattering_length_target())
    >>> len(ensemble.members), ensemble.loss.shape
    (1, (2, 1))
    """
    validation.instance("config", config, TrainingConfig)
    validation.instance("target", target, Target)
    cache = None if cache is None else validation.path("cache", cache)
    _warn_of_other_bits()
    with _LOCK:
        return _train(config, target, cache)


@lru_cache(maxsize=1)
def _warn_of_other_bits() -> None:
    """Warn, once in a process, that it does not run in deterministic mode."""
    reason = determinism.departures()
    if reason:
        warnings.warn(
            f"the trained bits depend on this machine: {reason}", stacklevel=3
        )


def _train(config: TrainingConfig, target: Target, cache: Path | None) -> Ensemble:
    """Train all members, or resume from the checkpoint in `cache`."""
    from tqdm import tqdm

    tf, _ = tensorflow.load()
    (held_out, *_), fitted = _drawn(config, target, config.validation, _VALIDATION)
    scales = _scales(config, fitted)
    held_out_y = (fitted[0] - scales.mean) / scales.std
    held_out_x = tf.constant(np.float32(held_out))
    weights = tf.constant(scales.weights, tf.float32)

    program = compiled_training.program(config)
    program.begin(config, _first_weights(config))
    state = [*program.variables, *program.optimizer.variables]
    curves: list[list] = [[], [], []]
    checkpoint = cache and Checkpoint.of(cache, config.fingerprint(target), fitted[0])
    if checkpoint:
        curves = checkpoint.restore(state)
    loss, validation, seconds = curves

    per_epoch = config.samples // config.batch
    start, epochs = len(loss), -(-config.steps // per_epoch)
    draw = _drawer(config, target, scales, per_epoch)
    progress = {"initial": start, "total": epochs, "desc": "training", "unit": "epoch"}
    drawn = tqdm(_drawn_ahead(draw, range(start, epochs)), **progress, disable=None)
    stored = time.monotonic()
    for epoch, (samples, order) in enumerate(drawn, start):
        steps = min(per_epoch, config.steps - epoch * per_epoch)
        arguments = tf.nest.map_structure(
            tf.convert_to_tensor, (*samples, order, steps)
        )
        started = time.perf_counter()
        loss.append(program.run(*arguments, weights).numpy())
        seconds.append(time.perf_counter() - started)
        residual = program.predict(held_out_x).numpy() - held_out_y
        validation.append(np.mean(residual**2, axis=1))
        diverged = not np.isfinite(loss[-1]).any()
        last = diverged or len(loss) == epochs
        if checkpoint and (last or time.monotonic() > stored + _EVERY):
            checkpoint.store(state, curves)
            stored = time.monotonic()
        if diverged:
            break
    trained = [variable.numpy() for variable in program.variables]
    ensemble = _to_ensemble(config, trained, [np.array(c) for c in curves], scales)
    return replace(ensemble, configuration=config.written(target))


def _drawn_ahead(draw: Callable, epochs: range) -> Iterator[tuple]:
    """Yield draw(epoch) for all epochs, and draw the next in a thread meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        upcoming = [pool.submit(draw, epoch) for epoch in epochs[:1]]
        for epoch in epochs:
            drawn = upcoming.pop().result()
            if epoch + 1 in epochs:
                upcoming.append(pool.submit(draw, epoch + 1))
            yield drawn


@dataclass(frozen=True)
class _Scales:
    """The units of the inputs and outputs that the networks are trained on.

    Inputs are x = U/depth, values are (t - mean)/std, and derivatives are those of
    these values with respect to x.

    Parameters
    ----------
    mean, std : float
        Mean and standard deviation of the values of the target.
    weights : tuple of float
        Inverse mean square of each fitted quantity in these units, which is 1 for the
        values.
    """

    mean: float
    std: float
    weights: tuple[float, ...]


def _scales(config: TrainingConfig, fitted: list[Floats]) -> _Scales:
    """Return the units of the target, from its quantities at held-out potentials."""
    values, *derivatives = fitted
    mean, std = float(values.mean()), float(values.std()) or 1.0
    weights = [1.0]
    for order, array in enumerate(derivatives, 1):
        square = float(np.mean((array * (config.depth**order / std)) ** 2))
        weights.append(1 / (square or 1.0))
    return _Scales(mean, std, tuple(weights))


def _drawn(
    config: TrainingConfig, target: Target, n: int, stream: int, number: int = 0
) -> tuple[list, list]:
    """Draw n potentials and evaluate the quantities of the fit at them.

    Return the list of inputs and the list of fitted quantities, all in double
    precision. The inputs are the potentials in units of the depth, shape (n, d), and,
    if the fit needs them, one random direction per sample, shape (n, d). The squared
    length of a direction is 1 on average. The fitted quantities are not scaled.
    """
    U = config.potentials(n, stream, config.sample_seed, number)
    inputs = [U / config.depth]
    if FITS.index(config.fit) > 1:
        random = np.random.default_rng(
            (_DIRECTIONS, config.sample_seed, stream, number)
        )
        inputs.append(random.standard_normal(U.shape) / np.sqrt(config.d))
    return inputs, target.evaluate_fit(config.fit, U, *inputs[1:], depth=config.depth)


def _drawer(
    config: TrainingConfig, target: Target, scales: _Scales, per_epoch: int
) -> Callable:
    """Return a function that maps the number of an epoch to its samples and orders.

    The samples are the two lists of `_drawn`, in single precision, with the fitted
    quantities in the units of `scales`. The orders are an int32 array of shape
    (per_epoch, members, batch), the samples of each member in each step.
    """

    def samples(number: int) -> list[list[np.ndarray]]:
        inputs, fitted = _drawn(config, target, config.samples, _SAMPLES, number)
        fitted[0] = fitted[0] - scales.mean
        for order, array in enumerate(fitted):
            fitted[order] = array * (config.depth**order / scales.std)
        return [
            [array.astype(np.float32) for array in arrays]
            for arrays in (inputs, fitted)
        ]

    if config.sample_sets is not None:
        samples = lru_cache(maxsize=config.sample_sets)(samples)

    def draw(epoch: int) -> tuple:
        orders = []
        for seed in config.seeds:
            random = np.random.default_rng((_ORDER, seed, epoch))
            orders.append(
                random.permutation(config.samples)[: per_epoch * config.batch]
            )
        order = np.reshape(orders, (len(orders), per_epoch, config.batch))
        number = epoch if config.sample_sets is None else epoch % config.sample_sets
        return samples(number), order.swapaxes(0, 1).astype(np.int32)

    return draw


def _first_weights(config: TrainingConfig) -> list[np.ndarray]:
    """Return Glorot-uniform weights and zero biases, in turn for each layer.

    Their shapes are (members, in, out) and (members, 1, out).
    """
    sizes = (config.d, *config.hidden, 1)
    arrays: list[np.ndarray] = []
    for layer, shape in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        limit = np.sqrt(6 / sum(shape))
        weights = [
            np.random.default_rng((_WEIGHTS, seed, layer)).uniform(-limit, limit, shape)
            for seed in config.seeds
        ]
        arrays.append(np.stack(weights).astype(np.float32))
        arrays.append(np.zeros((len(weights), 1, shape[1]), np.float32))
    return arrays


def _to_ensemble(
    config: TrainingConfig,
    weights: list,
    curves: list[Floats],
    scales: _Scales,
) -> Ensemble:
    """Return the members that did not diverge, in the units of the target.

    `weights` are the trained weights and biases, alternating from layer to layer.
    `curves` are loss, validation and seconds.
    """
    loss, validation, seconds = curves
    finite = np.isfinite(np.concatenate([loss, validation])).all(axis=0)
    seeds = np.array(config.seeds)
    if not finite.any():
        raise ValueError(
            f"learning_rate = {config.learning_rate}: every member diverged; "
            f"use a smaller one"
        )
    if not finite.all():
        warnings.warn(
            f"seeds {seeds[~finite].tolist()} diverged and are left out; "
            f"a smaller learning_rate may keep them",
            stacklevel=3,
        )
    members = [
        _to_mlp(config, [array[number] for array in weights], scales)
        for number in np.flatnonzero(finite)
    ]
    loss, validation = loss[:, finite], validation[:, finite]
    return Ensemble(members, seeds[finite].tolist(), loss, validation, seconds)


def _to_mlp(config: TrainingConfig, weights: list, scales: _Scales) -> MLP:
    """Return one trained network as a function of U in the units of the target.

    The scaling of the inputs and the output is folded into the first and the last
    layer.
    """
    matrices = [weight.T.astype(np.float64) for weight in weights[0::2]]
    biases = [bias[0].astype(np.float64) for bias in weights[1::2]]
    matrices[0] /= config.depth
    matrices[-1] *= scales.std
    biases[-1] = biases[-1] * scales.std + scales.mean
    # Rounding to single precision again makes the returned weights equal to the saved
    # ones.
    single = [[np.float32(array) for array in arrays] for arrays in (matrices, biases)]
    return MLP(single[0], single[1], config.activation)
