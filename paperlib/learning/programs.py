"""A training as one compiled program: an epoch of steps of all members, for any target.

Compiling takes some seconds, so trainings that differ only in their data share a program: orders of an iteration, rows of a
table. It turns variables of its own, so one training at a time may use it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from paperlib._support import tensorflow as _tensorflow
from paperlib.learning import networks

__all__ = ["Program", "program"]


@dataclass(frozen=True)
class Program:
    """A compiled training: what it turns, how, and the optimizer's state before the first step.

    `run` is an epoch of steps as one XLA program, (inputs, fitted, order, steps, weights) -> each member's mean loss.
    """

    variables: list
    optimizer: Any
    fresh: list
    rates: list
    run: Callable
    predict: Callable

    def begin(self, config, weights):
        """Set the weights, the optimizer and its rates as they are before the first step."""
        state = [*self.variables, *self.optimizer.variables, *self.rates]
        peaks = np.broadcast_to(np.float32(config.learning_rate), len(config.seeds)).reshape(-1, 1, 1)
        rates = [config.warmup, max(1, config.steps - config.warmup), peaks]
        for variable, value in zip(state, [*weights, *self.fresh, *rates], strict=True):
            variable.assign(value)


def program(config):
    """The program of a configuration; configurations that differ in their data alone share one.

    Parameters
    ----------
    config : TrainingConfig

    Returns
    -------
    Program
        Weights (member, in, out) and biases (member, 1, out) in turn are the variables; they hold zeros, or what the
        last training left.
    """
    alike = replace(
        config,
        kind="attractive", depth=1.0, smallest=0.0, samples=config.batch, sets=None, validation=1, sample_seed=0,
        steps=1, warmup=0, learning_rate=1.0,
        seeds=tuple(range(len(config.seeds))),
    )  # fmt: skip
    return _compiled(alike)


@lru_cache(maxsize=4)
def _compiled(config):
    tf, keras = _tensorflow.load()
    sizes, members = (config.d, *config.hidden, 1), len(config.seeds)
    shapes = [shape for i, o in zip(sizes[:-1], sizes[1:], strict=True) for shape in ((members, i, o), (members, 1, o))]
    variables = [keras.Variable(np.zeros(shape, np.float32), name=f"weight_{k}") for k, shape in enumerate(shapes)]
    schedule, rates = _schedule(keras, members)
    optimizer = _optimizer(keras, config.optimizer, schedule)
    optimizer.build(variables)
    evaluate: Any = {
        "values": lambda *arguments: [networks.values(*arguments)],
        "gradients": networks.values_and_gradients,
        "hessian_vectors": networks.values_gradients_and_hessian_vectors,
    }[config.fit]

    def step(inputs, fitted, rows, weights):
        with tf.GradientTape() as tape:
            chosen = [tf.gather(array, rows) for array in inputs]
            outputs = evaluate(tf, config.activation, variables[0::2], variables[1::2], *chosen)
            loss = 0.0
            for number, (output, array) in enumerate(zip(outputs, fitted, strict=True)):
                residual = tf.reshape(output - tf.gather(array, rows), (len(config.seeds), -1))
                loss += weights[number] * tf.reduce_mean(residual**2, axis=1)
            # Members share no weights, so the gradient of the sum is each one's own.
            total = tf.reduce_sum(loss)
        optimizer.apply(tape.gradient(total, variables), variables)
        return loss

    @tf.function(jit_compile=True)
    def run(inputs, fitted, order, steps, weights):
        def body(number, total):
            return number + 1, total + step(inputs, fitted, order[number], weights)

        start = (0, tf.zeros(len(config.seeds)))
        _, total = tf.while_loop(lambda number, _: number < steps, body, start)
        return total / tf.cast(steps, tf.float32)

    @tf.function(jit_compile=True)
    def predict(x):
        return networks.values(tf, config.activation, variables[0::2], variables[1::2], x)

    fresh = [variable.numpy() for variable in optimizer.variables]
    return Program(variables, optimizer, fresh, rates, run, predict)


def _schedule(keras: Any, members):
    """A linear rise over the warm-up, then a cosine that falls to zero; and its variables, which `Program.begin` sets."""
    rises, falls = (keras.Variable(1.0, name=name) for name in ("rises", "falls"))
    peaks = keras.Variable(np.ones((members, 1, 1), np.float32), name="peaks")
    unit = keras.optimizers.schedules.CosineDecay(0.0, decay_steps=1, warmup_target=1.0, warmup_steps=1)
    unit.warmup_steps, unit.decay_steps = rises, falls

    class Schedule(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return unit(step) * peaks.value

    return Schedule(), [rises, falls, peaks]


def _optimizer(keras: Any, name, schedule):
    class Muon(keras.optimizers.Muon):
        """Muon on the last two axes, so that members stay apart."""

        def _should_use_adamw(self, variable):
            return variable.shape[-2] == 1

        def lr_adjust(self, x):
            return x * float(np.sqrt(max(x.shape[-2:]))) * self.rms_rate

    if name == "soap":
        from paperlib.learning.soap import SOAP

        return SOAP(schedule)
    if name == "muon":
        return Muon(schedule, weight_decay=None, adam_weight_decay=None)
    return keras.optimizers.Adam(schedule)
