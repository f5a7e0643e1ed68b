"""Ensembles of networks, trained together in one compiled step.

Every weight has a leading member axis, so that one batched product serves all members, and an epoch is one
call of an XLA program. Members differ by their seed alone: it sets their first weights and the order in
which they see the samples. The samples are drawn anew for each epoch, the same for all members.
"""

import hashlib
import json
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from paperlib import _tensorflow, checks
from paperlib.ensemble import Ensemble
from paperlib.files import read_npz, write_npz
from paperlib.mlp import MLP
from paperlib.potentials import SAMPLE_KINDS, sample

__all__ = ["TrainingConfig", "train_ensemble"]

ACTIVATIONS = ("gelu", "sigmoid", "silu", "softplus", "tanh")
OPTIMIZERS = ("adam",)
# Streams of random numbers, told apart by the last word of their seed.
_SAMPLES, _VALIDATION, _WEIGHTS, _ORDER = range(4)


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides which networks come out of a training.

    Parameters
    ----------
    d : int
        Shells of a potential, the networks' inputs.
    hidden : tuple of int
        Widths of the hidden layers.
    activation : {"gelu", "sigmoid", "silu", "softplus", "tanh"}
    kind, depth, smallest
        What is sampled: see `potentials.sample`.
    samples : int
        Potentials drawn anew for each epoch.
    batch, steps : int
        Potentials a step, and steps in all.
    optimizer : {"adam"}
    learning_rate : float
        Its peak: after `warmup` steps of linear rise it falls to zero as a cosine.
    warmup : int
    validation : int
        Held-out potentials, of the same distribution.
    sample_seed : int
        Seed of the potentials.
    seeds : tuple of int
        One member each.

    Examples
    --------
    >>> TrainingConfig(hidden=(32, 32), seeds=(0,)).hidden
    (32, 32)
    >>> TrainingConfig(activation="relu6")
    Traceback (most recent call last):
    ...
    ValueError: activation = 'relu6': must be one of 'gelu', 'sigmoid', 'silu', 'softplus', 'tanh'
    """

    d: int = 64
    hidden: tuple = (64, 64, 64, 64)
    activation: str = "gelu"
    kind: str = "attractive"
    depth: float = 1.0
    smallest: float = 0.2
    samples: int = 65_536
    batch: int = 512
    steps: int = 12_000
    optimizer: str = "adam"
    learning_rate: float = 3e-3
    warmup: int = 200
    validation: int = 8_192
    sample_seed: int = 0
    seeds: tuple = (0, 1, 2, 3, 4)

    def __post_init__(self):
        for name in ("d", "samples", "batch", "steps", "validation"):
            checks.integer(name, getattr(self, name), minimum=1)
        for name in ("warmup", "sample_seed"):
            checks.integer(name, getattr(self, name), minimum=0)
        for name, minimum in (("hidden", 1), ("seeds", 0)):
            values = getattr(self, name)
            if not isinstance(values, (tuple, list)) or not values:
                raise ValueError(f"{name} = {values!r}: must be a tuple of one integer or more")
            values = tuple(checks.integer(f"{name}[{i}]", v, minimum=minimum) for i, v in enumerate(values))
            object.__setattr__(self, name, values)
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds = {self.seeds}: must differ, or members would be the same network")
        if self.batch > self.samples:
            raise ValueError(f"batch = {self.batch}: must be at most samples = {self.samples}")
        if self.warmup > self.steps:
            raise ValueError(f"warmup = {self.warmup}: must be at most steps = {self.steps}")
        for name, above in (("depth", 0), ("learning_rate", 0)):
            object.__setattr__(self, name, checks.number(name, getattr(self, name), above=above))
        if checks.number("smallest", self.smallest, minimum=0) > 1:
            raise ValueError(f"smallest = {self.smallest}: must be from 0 to 1")
        checks.choice("activation", self.activation, ACTIVATIONS)
        checks.choice("kind", self.kind, SAMPLE_KINDS)
        checks.choice("optimizer", self.optimizer, OPTIMIZERS)

    def potentials(self, n, *seed):
        """Draw n potentials of this distribution, shape (n, d)."""
        return sample(n, self.d, depth=self.depth, kind=self.kind, smallest=self.smallest, seed=seed)

    def fingerprint(self, target):
        """A hash of the configuration and the target's name: what it names trains to the same networks."""
        text = json.dumps(asdict(self) | {"target": target.name}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def train_ensemble(config, target, *, checkpoint=None):
    """Train one network a seed on `target`.

    Parameters
    ----------
    config : TrainingConfig
    target : Target
        Its values are fitted, less their mean and divided by their standard deviation.
    checkpoint : path, optional
        A .npz file, replaced after each epoch. A training that finds it goes on where it stopped, to the same
        weights bit for bit; one that finds it complete returns what it holds.

    Returns
    -------
    Ensemble
        Members in the order of `config.seeds`, without those that diverged.

    Raises
    ------
    ValueError
        If the checkpoint is of another configuration or target, the target's values are unfit, or every member
        diverged.

    Notes
    -----
    The progress bar shows on a terminal only. One epoch's samples are drawn while the one before is trained on.

    Examples
    --------
    >>> from paperlib.targets import scattering_length_target
    >>> config = TrainingConfig(d=4, hidden=(8,), samples=256, batch=32, steps=16, warmup=0, validation=16, seeds=(7,))
    >>> ensemble = train_ensemble(config, scattering_length_target())
    >>> len(ensemble.members), ensemble.loss.shape
    (1, (2, 1))
    """
    from tqdm import tqdm

    tf, keras = _tensorflow.load()
    per_epoch = config.samples // config.batch
    epochs = -(-config.steps // per_epoch)

    held_out = config.potentials(config.validation, config.sample_seed, _VALIDATION)
    held_out_values = target.sampled("values", held_out)
    mean, spread = held_out_values.mean(), held_out_values.std() or 1.0

    def epoch_samples(epoch):
        U = config.potentials(config.samples, config.sample_seed, epoch, _SAMPLES)
        y = (target.sampled("values", U) - mean) / spread
        orders = [
            np.random.default_rng((seed, epoch, _ORDER)).permutation(config.samples)[: per_epoch * config.batch]
            for seed in config.seeds
        ]
        order = np.stack(orders).reshape(len(config.seeds), per_epoch, config.batch).swapaxes(0, 1)
        return (U / config.depth).astype(np.float32), y.astype(np.float32), order.astype(np.int32)

    variables = _first_weights(keras, config)
    optimizer = keras.optimizers.Adam(_schedule(keras, config))
    optimizer.build(variables)
    run_epoch = _epoch_program(tf, keras, config, variables, optimizer)
    predict = tf.function(lambda x: _forward(keras, config, variables, x), jit_compile=True)
    held_out_x = tf.constant(np.float32(held_out / config.depth))
    held_out_y = (held_out_values - mean) / spread

    state = [*variables, *optimizer.variables]
    fingerprint = config.fingerprint(target)
    loss, validation = _restore(checkpoint, fingerprint, state)
    with ThreadPoolExecutor(1) as pool:
        start = len(loss)
        upcoming = pool.submit(epoch_samples, start) if start < epochs else None
        for epoch in tqdm(range(start, epochs), initial=start, total=epochs, desc="training", unit="epoch", disable=None):
            x, y, order = upcoming.result()
            upcoming = pool.submit(epoch_samples, epoch + 1) if epoch + 1 < epochs else None
            steps = min(per_epoch, config.steps - epoch * per_epoch)
            loss.append(run_epoch(tf.constant(x), tf.constant(y), tf.constant(order), steps).numpy())
            residual = predict(held_out_x).numpy() - held_out_y
            validation.append(np.mean(residual**2, axis=1))
            if checkpoint is not None:
                _store(checkpoint, fingerprint, state, loss, validation)
    weights = [v.numpy() for v in variables]
    return _to_ensemble(config, weights, np.array(loss), np.array(validation), mean, spread)


def _first_weights(keras, config):
    """Glorot-uniform weights (member, in, out) and zero biases (member, 1, out), as variables."""
    sizes = (config.d, *config.hidden, 1)
    variables = []
    for layer, (inputs, outputs) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        limit = np.sqrt(6 / (inputs + outputs))
        weights = [
            np.random.default_rng((seed, layer, _WEIGHTS)).uniform(-limit, limit, (inputs, outputs))
            for seed in config.seeds
        ]
        variables.append(keras.Variable(np.stack(weights).astype(np.float32), name=f"weights_{layer}"))
        variables.append(keras.Variable(np.zeros((len(weights), 1, outputs), np.float32), name=f"biases_{layer}"))
    return variables


def _forward(keras, config, variables, x):
    """The members' outputs: x of shape (batch, d) or (member, batch, d) -> (member, batch)."""
    phi = keras.activations.get(config.activation)
    y = x
    for layer in range(len(config.hidden)):
        y = phi(y @ variables[2 * layer] + variables[2 * layer + 1])
    return (y @ variables[-2] + variables[-1])[..., 0]


def _schedule(keras, config):
    """Linear warm-up, then a cosine to zero at the last step."""
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if config.warmup else config.learning_rate,
        decay_steps=max(1, config.steps - config.warmup),
        warmup_target=config.learning_rate if config.warmup else None,
        warmup_steps=config.warmup,
    )


def _epoch_program(tf, keras, config, variables, optimizer):
    """An epoch of gradient steps as one XLA program: (x, y, order, steps) -> each member's mean loss."""

    def step(x, y, rows):
        with tf.GradientTape() as tape:
            residual = _forward(keras, config, variables, tf.gather(x, rows)) - tf.gather(y, rows)
            loss = tf.reduce_mean(residual**2, axis=1)
            # Members share no weights, so the gradient of the sum is each one's own.
            total = tf.reduce_sum(loss)
        optimizer.apply(tape.gradient(total, variables), variables)
        return loss

    @tf.function(jit_compile=True)
    def run(x, y, order, steps):
        def body(number, total):
            return number + 1, total + step(x, y, order[number])

        start = (0, tf.zeros(len(config.seeds)))
        _, total = tf.while_loop(lambda number, _: number < steps, body, start)
        return total / tf.cast(steps, tf.float32)

    return lambda x, y, order, steps: run(x, y, order, tf.constant(steps))


def _store(path, fingerprint, state, loss, validation):
    """Replace the checkpoint: everything that the next epoch depends on."""
    arrays = {f"state_{k:03}": variable.numpy() for k, variable in enumerate(state)}
    write_npz(path, fingerprint=np.array(fingerprint), loss=np.array(loss), validation=np.array(validation), **arrays)


def _restore(path, fingerprint, state):
    """Read the checkpoint into `state`, if there is one; return the loss curves so far."""
    if path is None or not Path(path).exists():
        return [], []
    names = [f"state_{k:03}" for k in range(len(state))]
    arrays = read_npz(path, ["fingerprint", "loss", "validation"])
    if str(arrays["fingerprint"]) != fingerprint or not set(names) <= set(arrays):
        raise ValueError(f"checkpoint = {path}: is of another configuration or target; remove it or name another file")
    for name, variable in zip(names, state, strict=True):
        variable.assign(arrays[name])
    return list(arrays["loss"]), list(arrays["validation"])


def _to_ensemble(config, weights, loss, validation, mean, spread):
    """Undo the scaling of input and output, and leave out the members that diverged."""
    finite = np.isfinite(loss).all(axis=0) & np.isfinite(validation).all(axis=0)
    lost = [seed for seed, kept in zip(config.seeds, finite, strict=True) if not kept]
    if not finite.any():
        raise ValueError(f"learning_rate = {config.learning_rate}: every member diverged; take a smaller one")
    if lost:
        warnings.warn(f"seeds {lost} diverged and are left out; a smaller learning_rate may keep them", stacklevel=3)
    members = []
    for number in np.flatnonzero(finite):
        matrices = [w[number].T.astype(np.float64) for w in weights[0::2]]
        biases = [b[number, 0].astype(np.float64) for b in weights[1::2]]
        matrices[0] /= config.depth
        matrices[-1] *= spread
        biases[-1] = biases[-1] * spread + mean
        # Rounded once more to single precision, so that what is saved is what is returned.
        single = [[np.float32(a) for a in arrays] for arrays in (matrices, biases)]
        members.append(MLP(*single, config.activation))
    seeds = tuple(seed for seed, kept in zip(config.seeds, finite, strict=True) if kept)
    return Ensemble(tuple(members), seeds, loss[:, finite], validation[:, finite])
