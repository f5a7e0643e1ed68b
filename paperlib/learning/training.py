"""Train ensembles of networks, all members together in one compiled step.

Every weight has a leading member axis, so that one batched product serves all members. An epoch is one call of an XLA
program. Members differ by their seed, which sets their initial weights and the order of their samples. They may also
differ by their learning rate. All members are trained on the same samples.
"""

import time
import warnings
from collections.abc import Callable
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
_AT_WORK = Lock()


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
    >>> config = TrainingConfig(d=4, hidden=(8,), samples=256, batch=32, steps=16, warmup=0, validation=16, seeds=(7,))
    >>> ensemble = train_ensemble(config, scattering_length_target())
    >>> len(ensemble.members), ensemble.loss.shape
    (1, (2, 1))
    """
    validation.instance("config", config, TrainingConfig)
    validation.instance("target", target, Target)
    cache = None if cache is None else validation.path("cache", cache)
    _warn_of_other_bits()
    with _AT_WORK:
        return _train(config, target, cache)


@lru_cache(maxsize=1)
def _warn_of_other_bits() -> None:
    """Warn, once in a process, that it does not run in deterministic mode, with the reason."""
    if why := determinism.departures():
        warnings.warn(f"trained to bits of this machine's own: {why}", stacklevel=3)


def _train(config: TrainingConfig, target: Target, cache: Path | None) -> Ensemble:
    """Train all members, resuming from the checkpoint in `cache` if there is one, and return the ensemble."""
    from tqdm import tqdm

    tf, _ = tensorflow.load()
    per_epoch = config.samples // config.batch
    epochs = -(-config.steps // per_epoch)
    (held_out, *_), (held_out_values, *held_out_derivatives) = _drawn(
        config, target, config.validation, _VALIDATION
    )
    scales = _scales(config, held_out_values, held_out_derivatives)
    draw = _drawer(config, target, scales, per_epoch)

    program = compiled_training.program(config)
    program.begin(config, _first_weights(config))
    state = [*program.variables, *program.optimizer.variables]
    weights = tf.constant(scales.weights, tf.float32)
    held_out_x = tf.constant(np.float32(held_out))
    held_out_y = (held_out_values - scales.mean) / scales.spread

    checkpoint = cache and Checkpoint.of(
        cache, config.fingerprint(target), held_out_values
    )
    loss, validation, seconds = curves = (
        checkpoint.restore(state) if checkpoint else [[], [], []]
    )
    with ThreadPoolExecutor(1) as pool:
        start = len(loss)
        upcoming = pool.submit(draw, start) if start < epochs else None
        stored = time.monotonic()
        bar = tqdm(
            range(start, epochs),
            initial=start,
            total=epochs,
            desc="training",
            unit="epoch",
            disable=None,
        )
        for epoch in bar:
            (inputs, fitted), order = upcoming.result()  # type: ignore[union-attr]  # set in every iteration
            upcoming = pool.submit(draw, epoch + 1) if epoch + 1 < epochs else None
            steps = min(per_epoch, config.steps - epoch * per_epoch)
            arguments = tf.nest.map_structure(
                tf.convert_to_tensor, (inputs, fitted, order, steps)
            )
            started = time.perf_counter()
            loss.append(program.run(*arguments, weights).numpy())
            seconds.append(time.perf_counter() - started)
            residual = program.predict(held_out_x).numpy() - held_out_y
            validation.append(np.mean(residual**2, axis=1))
            last = len(loss) == epochs or not np.isfinite(loss[-1]).any()
            if checkpoint and (last or time.monotonic() > stored + _EVERY):
                checkpoint.store(state, curves)
                stored = time.monotonic()
            if last:
                break
    trained = [v.numpy() for v in program.variables]
    ensemble = _to_ensemble(
        config, trained, np.array(loss), np.array(validation), np.array(seconds), scales
    )
    return replace(ensemble, configuration=config.written(target))


@dataclass(frozen=True)
class _Scales:
    """The units of the inputs and outputs that the networks are trained on.

    Inputs are x = U/depth, values are (t - mean)/spread, and derivatives are those of
    these values with respect to x.

    Parameters
    ----------
    mean, spread : float
        Mean and standard deviation of the values of the target.
    weights : tuple of float
        Inverse mean square of each fitted quantity in these units, which is 1 for the
        values.
    """

    mean: float
    spread: float
    weights: tuple[float, ...]


def _scales(
    config: TrainingConfig, values: Floats, derivatives: list[Floats]
) -> _Scales:
    """Return the units of the target, computed from its values and derivatives at the held-out potentials."""
    mean, spread = float(values.mean()), float(values.std()) or 1.0
    units = [config.depth**order / spread for order in range(1, len(derivatives) + 1)]
    squares = [
        float(np.mean((array * unit) ** 2))
        for array, unit in zip(derivatives, units, strict=True)
    ]
    return _Scales(mean, spread, (1.0, *(1 / (square or 1.0) for square in squares)))


def _drawn(
    config: TrainingConfig, target: Target, n: int, stream: int, number: int = 0
) -> tuple[list, list]:
    """Draw n potentials and evaluate the quantities of the fit at them.

    Return the list of inputs and the list of fitted quantities, all in double precision. The inputs are the potentials
    in units of the depth, shape (n, d), and, if the fit needs them, one random direction per sample, shape (n, d). The
    squared length of a direction is 1 on average. The fitted quantities are not scaled.
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
    """Return a function that maps the number of an epoch to its samples and to each member's order of them.

    The samples are the two lists of `_drawn`, in single precision, with the fitted quantities in the units of `scales`.
    The orders are an int32 array of shape (per_epoch, members, batch).
    """

    def samples(number: int) -> list[list[np.ndarray]]:
        inputs, fitted = _drawn(config, target, config.samples, _SAMPLES, number)
        fitted[0] = fitted[0] - scales.mean
        fitted = [
            array * (config.depth**order / scales.spread)
            for order, array in enumerate(fitted)
        ]
        return [
            [array.astype(np.float32) for array in arrays]
            for arrays in (inputs, fitted)
        ]

    if config.sample_sets is not None:
        samples = lru_cache(maxsize=config.sample_sets)(samples)

    def draw(epoch: int) -> tuple:
        orders = [
            np.random.default_rng((_ORDER, seed, epoch)).permutation(config.samples)[
                : per_epoch * config.batch
            ]
            for seed in config.seeds
        ]
        order = (
            np.stack(orders)
            .reshape(len(config.seeds), per_epoch, config.batch)
            .swapaxes(0, 1)
        )
        return samples(
            epoch if config.sample_sets is None else epoch % config.sample_sets
        ), order.astype(np.int32)

    return draw


def _first_weights(config: TrainingConfig) -> list[np.ndarray]:
    """Return Glorot-uniform weights (members, in, out) and zero biases (members, 1, out), in turn for each layer."""
    sizes = (config.d, *config.hidden, 1)
    arrays = []
    for layer, (inputs, outputs) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        limit = np.sqrt(6 / (inputs + outputs))
        weights = [
            np.random.default_rng((_WEIGHTS, seed, layer)).uniform(
                -limit, limit, (inputs, outputs)
            )
            for seed in config.seeds
        ]
        arrays += [
            np.stack(weights).astype(np.float32),
            np.zeros((len(weights), 1, outputs), np.float32),
        ]
    return arrays


def _to_ensemble(
    config: TrainingConfig,
    weights: list,
    loss: Floats,
    validation: Floats,
    seconds: Floats,
    scales: _Scales,
) -> Ensemble:
    """Return the ensemble of the members that did not diverge, as functions of U in the units of the target.

    `weights` are the trained weights and biases, alternating from layer to layer. The scaling of input and output is
    folded into the first and the last layer.
    """
    finite = np.isfinite(np.concatenate([loss, validation])).all(axis=0)
    lost = [seed for seed, kept in zip(config.seeds, finite, strict=True) if not kept]
    if not finite.any():
        raise ValueError(
            f"learning_rate = {config.learning_rate}: every member diverged; take a smaller one"
        )
    if lost:
        warnings.warn(
            f"seeds {lost} diverged and are left out; a smaller learning_rate may keep them",
            stacklevel=3,
        )
    members = []
    for number in np.flatnonzero(finite):
        matrices = [w[number].T.astype(np.float64) for w in weights[0::2]]
        biases = [b[number, 0].astype(np.float64) for b in weights[1::2]]
        matrices[0] /= config.depth
        matrices[-1] *= scales.spread
        biases[-1] = biases[-1] * scales.spread + scales.mean
        # Rounding to single precision again makes the returned weights equal to the
        # saved ones.
        single = [[np.float32(a) for a in arrays] for arrays in (matrices, biases)]
        members.append(MLP(single[0], single[1], config.activation))
    seeds = tuple(seed for seed, kept in zip(config.seeds, finite, strict=True) if kept)
    return Ensemble(
        tuple(members), seeds, loss[:, finite], validation[:, finite], seconds
    )
