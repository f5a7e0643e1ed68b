"""Train ensembles of networks, all members together in one compiled step.

The members of an ensemble are networks of the same shape. The weights of a layer of all
members are stacked in one array whose first axis counts the members, so that one
batched product serves all members. An epoch is one call of a compiled XLA program. The
members differ by their seed, which determines their initial weights and the order of
their samples. They may also differ by their learning rate. All members are trained on
the same samples: potentials, with the values and derivatives of the target at them.
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

# Each use of random numbers has its own stream: the training potentials, the held-out
# potentials, the initial weights, the order of the samples, and the directions. A
# generator is seeded with a sequence of integers, and the first integer is one of these
# numbers. As last integer it would not distinguish the streams, because NumPy pads a
# seed with zeros at its end.
_SAMPLES, _VALIDATION, _WEIGHTS, _ORDER, _DIRECTIONS = range(1, 6)
# Minimum time in seconds between two writes of a checkpoint, so that trainings with
# short epochs do not spend most of their time on writing.
_EVERY = 10.0
# Trainings share compiled programs and the variables in them, so only one training may
# run at a time in a process.
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
        The function to learn, with the derivatives that `config.fit` includes. During
        the training, the mean of its values is subtracted, and the values are divided
        by their standard deviation. Mean and standard deviation are measured on the
        held-out potentials. The returned networks approximate the target itself.
    cache : path, optional
        Folder for files that let trainings resume, one file for each training. The file
        is named by `config.fingerprint(target)`. It is written after an epoch if the
        last write is more than ten seconds old, and at the end. If the file of this
        training exists, the training continues after the epoch that it stores, and
        gives the same weights bit for bit. If that epoch was the last one, nothing is
        trained, and the stored networks are returned.

    Returns
    -------
    Ensemble
        The trained networks in the order of `config.seeds`, without networks that
        diverged, that is, whose loss or validation error was not finite in an epoch.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If the target lacks a derivative that `config.fit` includes, or returns an array
        of the wrong shape or numbers that are not finite, or if every member diverged.

    Warns
    -----
    UserWarning
        If some members diverged. If the file in `cache` is damaged, or was written by
        other code, with other libraries or for other values of the target; the training
        then starts from the first step. Once in a process, if the process does not run
        in deterministic mode, so that the last bits depend on the machine.

    Notes
    -----
    The samples of the next epoch are drawn in a thread during the training on those of
    the present one. A step spends its time on matrix products and, if derivatives are
    fitted, on the derivatives of the activation. The optimizer SOAP adds matrix
    products of its own, which do not depend on `config.fit`. A progress bar is shown if
    standard error is a terminal.

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
    """Warn if the process does not run in deterministic mode, at most once.

    The cache of this function suppresses a second warning in the same process.
    """
    reason = determinism.departures()
    if reason:
        warnings.warn(
            f"the trained bits depend on this machine: {reason}", stacklevel=3
        )


def _train(config: TrainingConfig, target: Target, cache: Path | None) -> Ensemble:
    """Train all members, or resume their training from its file in the folder `cache`.

    If `cache` is None, no file is read or written.
    """
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
    """Yield draw(epoch) for each number of `epochs`, in order.

    While the caller uses a result, a thread computes the next one. The numbers of
    `epochs` are consecutive. An exception of `draw` is raised when its result is due.
    """
    with ThreadPoolExecutor(1) as pool:
        upcoming = [pool.submit(draw, epoch) for epoch in epochs[:1]]
        for epoch in epochs:
            drawn = upcoming.pop().result()
            if epoch + 1 in epochs:
                upcoming.append(pool.submit(draw, epoch + 1))
            yield drawn


@dataclass(frozen=True)
class _Scales:
    """The scaling between the target and the quantities that the networks learn.

    The networks take the inputs x = U / (depth profile), where U is a potential and
    `TrainingConfig.profile` has a factor for each shell, and learn y = (t - mean) /
    std, where t is the value of the target at U. The fitted derivatives are those of y
    with respect to x.

    Parameters
    ----------
    mean, std : float
        Mean and standard deviation of the values of the target at the held-out
        potentials. A standard deviation of 0 is replaced by 1.
    weights : tuple of float
        Factors of the mean squared errors in the loss, one for each fitted quantity: 1
        for the values y, and for a derivative of y the inverse of its mean square at
        the held-out potentials. A mean square of 0 is replaced by 1.
    """

    mean: float
    std: float
    weights: tuple[float, ...]


def _scales(config: TrainingConfig, fitted: list[Floats]) -> _Scales:
    """Return the scaling, measured on the fitted quantities at the held-out potentials.

    `fitted` are the values of the target at these potentials, shape (n,), and its
    derivatives up to the fit, shape (n, d), none of them scaled.
    """
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

    `stream` distinguishes training potentials (_SAMPLES) from held-out ones
    (_VALIDATION), and `number` distinguishes the sets of training potentials.

    Two lists are returned, all in double precision. The first list has the inputs x =
    U / (depth profile) of the networks, shape (n, d). If the fit needs directions, it
    also has one random direction for each input, shape (n, d); the squared length of a
    direction is 1 on average. The second list has the values of the target, shape (n,),
    and its derivatives with respect to U / profile = depth x up to the fit, shape (n,
    d) each: the gradients, the Hessians times the direction, and the third derivatives
    twice along the direction. None of them is scaled.
    """
    U = config.potentials(n, stream, config.sample_seed, number)
    inputs = [U / config.depth / config.profile]
    if FITS.index(config.fit) > 1:
        random = np.random.default_rng(
            (_DIRECTIONS, config.sample_seed, stream, number)
        )
        inputs.append(random.standard_normal(U.shape) / np.sqrt(config.d))
    directions = [v * config.profile for v in inputs[1:]]
    values, *others = target.evaluate_fit(
        config.fit, U, *directions, depth=config.depth
    )
    return inputs, [values, *(array * config.profile for array in others)]


def _drawer(
    config: TrainingConfig, target: Target, scales: _Scales, per_epoch: int
) -> Callable:
    """Return a function that maps the number of an epoch to (samples, order).

    The samples are two lists of arrays in single precision. The first list has the
    inputs of the networks and, if the fit needs them, the directions. The second list
    has the values and derivatives of the target, scaled by `scales` to the quantities
    that the networks learn. If `config.sample_sets` is None, new samples are
    drawn for each epoch. If it is an integer, this number of sets is drawn, each set
    once. The sets are cached, and the epochs use them in turn.

    `per_epoch` is the number of steps in an epoch. The order is an int32 array of shape
    (per_epoch, members, batch). It holds the indices of the samples that each member
    uses in each step.
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
    """Return the initial weights and biases of all members, in single precision.

    The list has the weights of the first layer, shape (members, in, out), its biases,
    shape (members, 1, out), then those of the second layer, and so on. The weights are
    uniform between -a and a with a^2 = 6 / (in + out), as Glorot proposed. The biases
    are zero.
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
    """Return the ensemble of the members that did not diverge.

    `weights` are the trained weights and biases, in the order of `_first_weights`.
    `curves` are the loss and the validation error after each epoch, shape (epochs,
    members), and the seconds of each epoch, shape (epochs,). The returned networks
    approximate the target itself, without the scaling. Raise a ValueError if all
    members diverged, and warn if some did.
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
    """Return one trained network, as a function of the potential U.

    `weights` are the weights and biases of this member, in the order of
    `_first_weights`. The first layer takes over the division of U by the depth and the
    profile, and the last layer the multiplication by the standard deviation and the
    addition of the mean, so that the network approximates the target itself.
    """
    matrices = [weight.T.astype(np.float64) for weight in weights[0::2]]
    biases = [bias[0].astype(np.float64) for bias in weights[1::2]]
    matrices[0] /= config.depth * config.profile
    matrices[-1] *= scales.std
    biases[-1] = biases[-1] * scales.std + scales.mean
    # `Ensemble.save` writes single precision. Rounding the scaled weights here already
    # makes an ensemble that is saved and loaded equal to the returned one.
    single = [[np.float32(array) for array in arrays] for arrays in (matrices, biases)]
    return MLP(single[0], single[1], config.activation)
