r"""A training as one compiled program: an epoch of steps of all members, for any target.

Values, gradients and what becomes of the gradient along a line are written out layer by layer. Weights are stacked along a
leading member axis, inputs first: y W is one batched product. The gradient is the paper's chain of propagators, from the
output down. Along U + t v every quantity is a power series in t, cut off after the order that is fitted; a layer takes

.. math::
    z^l(t) = y^{l-1}(t)\, W^l + b^l, \qquad y^l(t) = \varphi(z^l(t)), \qquad
    \lambda^{l-1}(t) = \big(\varphi'(z^l(t))\, \lambda^l(t)\big) W^{l\,T},

and the coefficients of :math:`\lambda^0(t)` are the gradient, the Hessian times v, and half of :math:`D^3 f[v, v, \cdot]`.
The coefficients of a quantity are stacked into one product. What is left for automatic differentiation is one pass for the
weights; nesting it instead costs hundreds of times more under XLA.

Compiling takes some seconds, so trainings that differ only in their data share a program: orders of an iteration, rows of a
table. It turns variables of its own, so one training at a time may use it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from math import factorial
from operator import add
from typing import Any

import numpy as np

from paperlib._support import tensorflow
from paperlib.learning.configuration import FITS, TrainingConfig
from paperlib.learning.tensorflow_activations import TRAINABLE

__all__ = ["Program", "program", "values", "values_and_gradients"]


# Products and their gradients are written with matrices that lie as they are multiplied. Of one with a transposed side, which
# automatic differentiation would ask for, XLA lets a library take sums in blocks as large as the processor's cache.


def _up(tf: Any, y: Any, weight: Any) -> Any:
    """y W, member by member; y may be the same for all of them."""
    transposed = tf.linalg.matrix_transpose

    @tf.custom_gradient
    def product(y: Any, weight: Any) -> tuple:
        def gradient(g: Any) -> tuple:
            by_y = g @ transposed(weight)
            return tf.reduce_sum(by_y, axis=0) if len(y.shape) < len(g.shape) else by_y, transposed(y) @ g

        return y @ weight, gradient

    return product(y, tf.convert_to_tensor(weight))


def _down(tf: Any, adjoint: Any, weight: Any) -> Any:
    """adjoint W^T, member by member."""
    transposed = tf.linalg.matrix_transpose

    @tf.custom_gradient
    def product(adjoint: Any, weight: Any) -> tuple:
        return adjoint @ transposed(weight), lambda g: (g @ weight, transposed(g) @ adjoint)

    return product(adjoint, tf.convert_to_tensor(weight))


def values(tf: Any, activation: str, weights: list, biases: list, x: Any) -> Any:
    """The members' outputs, shape (member, batch).

    `weights`, `biases` are lists of tensors, shapes (member, in, out) and (member, 1, out); x is of shape (batch, d) or
    (member, batch, d).
    """
    y = x
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        y = TRAINABLE[activation](tf, _up(tf, y, weight) + bias)[0]
    return (_up(tf, y, weights[-1]) + biases[-1])[..., 0]


def values_and_gradients(
    tf: Any, activation: str, weights: list, biases: list, x: Any, v: Any = None, order: int = 0
) -> tuple:
    """Outputs, shape (member, batch), and the first derivatives along v, up to `order` of 2, of their gradients by x.

    The gradients, the Hessians times v and D^3 f[v, v, .] have shape (member, batch, d).
    """
    series, slopes = [x, v][: order + 1], []
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        first, *others = _each(tf, _up, series, weight)
        derivatives = TRAINABLE[activation](tf, first + bias)
        series, slope = (_composed(derivatives[k:], others, order) for k in (0, 1))
        slopes.append(slope)
    output = (_up(tf, series[0], weights[-1]) + biases[-1])[..., 0]
    adjoint = [tf.linalg.matrix_transpose(weights[-1])]
    for weight, slope in zip(reversed(weights[:-1]), reversed(slopes), strict=True):
        terms = [[a * slope[n - k] for k, a in enumerate(adjoint[: n + 1])] for n in range(order + 1)]
        adjoint = _each(tf, _down, [reduce(add, each) for each in terms], weight)
    return output, *(factorial(n) * a for n, a in enumerate(adjoint))


def _each(tf: Any, product: Callable, series: list, weight: Any) -> list:
    """A product with every coefficient of a power series, as one."""
    return tf.split(product(tf, tf.concat(series, axis=-2), weight), len(series), axis=-2)


def _composed(derivatives: Sequence, others: list, order: int) -> list:
    """The first coefficients of a function of a power series: by its derivatives at the first one, and by the others."""
    series = [derivatives[0]] + [derivatives[1] * z for z in others]
    if order == 2:
        bent = derivatives[2] * others[0] ** 2 / 2
        series[2:] = [series[2] + bent if len(series) > 2 else bent]
    return series


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

    def begin(self, config: TrainingConfig, weights: list) -> None:
        """Set the weights, the optimizer and its rates as they are before the first step."""
        state = [*self.variables, *self.optimizer.variables, *self.rates]
        peaks = np.broadcast_to(np.asarray(config.learning_rate, np.float32), len(config.seeds)).reshape(-1, 1, 1)
        rates = [config.warmup, max(1, config.steps - config.warmup), peaks]
        for variable, value in zip(state, [*weights, *self.fresh, *rates], strict=True):
            variable.assign(value)


def program(config: TrainingConfig) -> Program:
    """The program of a configuration; configurations that differ in their data alone share one.

    Weights (member, in, out) and biases (member, 1, out) in turn are its variables; they hold zeros, or what the last
    training left.
    """
    alike = replace(
        config,
        kind="attractive", depth=1.0, smallest=0.0, samples=config.batch, sets=None, validation=1, sample_seed=0,
        steps=1, warmup=0, learning_rate=1.0,
        seeds=tuple(range(len(config.seeds))),
    )  # fmt: skip
    return _compiled(alike)


@lru_cache(maxsize=4)
def _compiled(config: TrainingConfig) -> Program:
    tf, keras = tensorflow.load()
    sizes, members = (config.d, *config.hidden, 1), len(config.seeds)
    shapes = [shape for i, o in zip(sizes[:-1], sizes[1:], strict=True) for shape in ((members, i, o), (members, 1, o))]
    variables = [keras.Variable(np.zeros(shape, np.float32), name=f"weight_{k}") for k, shape in enumerate(shapes)]
    schedule, rates = _schedule(keras, members)
    optimizer = _optimizer(keras, config.optimizer, schedule)
    optimizer.build(variables)
    order = FITS.index(config.fit)

    def evaluate(x: Any, v: Any = None) -> Any:
        network = (tf, config.activation, variables[0::2], variables[1::2], x)
        return values_and_gradients(*network, v, order - 1) if order else [values(*network)]

    def step(inputs: list, fitted: list, rows: Any, weights: Any) -> Any:
        with tf.GradientTape() as tape:
            chosen = [tf.gather(array, rows) for array in inputs]
            outputs = evaluate(*chosen)
            loss = 0.0
            for number, (output, array) in enumerate(zip(outputs, fitted, strict=True)):
                residual = tf.reshape(output - tf.gather(array, rows), (len(config.seeds), -1))
                loss += weights[number] * tf.reduce_mean(residual**2, axis=1)
            # Members share no weights, so the gradient of the sum is each one's own.
            total = tf.reduce_sum(loss)
        optimizer.apply(tape.gradient(total, variables), variables)
        return loss

    @tf.function(jit_compile=True)
    def run(inputs: list, fitted: list, order: Any, steps: Any, weights: Any) -> Any:
        def body(number: Any, total: Any) -> tuple:
            return number + 1, total + step(inputs, fitted, order[number], weights)

        start = (0, tf.zeros(len(config.seeds)))
        _, total = tf.while_loop(lambda number, _: number < steps, body, start)
        return total / tf.cast(steps, tf.float32)

    @tf.function(jit_compile=True)
    def predict(x: Any) -> Any:
        return values(tf, config.activation, variables[0::2], variables[1::2], x)

    fresh = [variable.numpy() for variable in optimizer.variables]
    return Program(variables, optimizer, fresh, rates, run, predict)


def _schedule(keras: Any, members: int) -> tuple[Any, list]:
    """A linear rise over the warm-up, then a cosine that falls to zero; and its variables, which `Program.begin` sets."""
    rises, falls = (keras.Variable(1.0, name=name) for name in ("rises", "falls"))
    peaks = keras.Variable(np.ones((members, 1, 1), np.float32), name="peaks")

    class Schedule(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step: Any) -> Any:
            step = keras.ops.minimum(keras.ops.cast(step, "float32"), rises + falls)
            falling = 0.5 * (1.0 + keras.ops.cos(np.float32(np.pi) * ((step - rises) / falls)))
            return keras.ops.where(step < rises, step / rises, falling) * peaks.value

    return Schedule(), [rises, falls, peaks]


def _optimizer(keras: Any, name: str, schedule: Any) -> Any:
    # Keras has no public way to say which variables Muon turns, and scales its rate by shapes that begin with the members; a
    # test holds that each member is turned as Keras' own would turn it alone.
    class Muon(keras.optimizers.Muon):
        """Muon on the last two axes, so that members stay apart."""

        def _should_use_adamw(self, variable: Any) -> bool:
            return bool(variable.shape[-2] == 1)

        def lr_adjust(self, x: Any) -> Any:
            return x * float(np.sqrt(max(x.shape[-2:]))) * self.rms_rate

    if name == "soap":
        from paperlib.learning.soap import SOAP

        return SOAP(schedule)
    if name == "muon":
        return Muon(schedule, weight_decay=None, adam_weight_decay=None)
    return keras.optimizers.Adam(schedule)
