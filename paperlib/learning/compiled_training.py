r"""Compile the training of an ensemble: one XLA program runs an epoch of steps of all members, for any target.

The values, their gradients with respect to the inputs, and the derivatives of these
gradients along a line are written out layer by layer. Weights are stacked along a
leading member axis, with the input axis before the output axis, so that y W is one
batched product. The gradient is the paper's chain of propagators, evaluated from the
output to the inputs. On the line U + t v every quantity is a power series in t,
truncated after the fitted order. A layer computes

.. math::
    z^l(t) = y^{l-1}(t)\, W^l + b^l, \qquad y^l(t) = \varphi(z^l(t)), \qquad
    \lambda^{l-1}(t) = \big(\varphi'(z^l(t))\, \lambda^l(t)\big) W^{l\,T}.

The coefficients of :math:`\lambda^0(t)` are the gradient, the Hessian times v, and half
of :math:`D^3 f[v, v, \cdot]`. The coefficients of a quantity are stacked, so that a
layer multiplies all of them in one product. Automatic differentiation is used for one
pass only, which gives the derivatives with respect to the weights. Nested automatic
differentiation would cost hundreds of times more under XLA.

Compiling takes some seconds, so trainings that differ only in their data share a program, for example the orders of an
iteration or the rows of a table. A program has its own variables, so only one training may use it at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from math import factorial
from operator import add
from typing import Any

import numpy as np

from paperlib._support import tensorflow
from paperlib.learning.config import TrainingConfig
from paperlib.learning.targets.target import FITS
from paperlib.learning.tensorflow_activations import TRAINABLE

# The products and their gradients below transpose a matrix explicitly before they
# multiply it. Automatic differentiation would instead ask for a product with a
# transposed operand. XLA lets a library compute such a product, with sums over blocks
# as large as the processor's cache. The last bits would then depend on the processor.


def _up(tf: Any, y: Any, weight: Any) -> Any:
    """Return y W for every member; y has a member axis or is shared by all members."""
    transposed = tf.linalg.matrix_transpose

    @tf.custom_gradient
    def product(y: Any, weight: Any) -> tuple:
        def gradient(g: Any) -> tuple:
            by_y = g @ transposed(weight)
            return tf.reduce_sum(by_y, axis=0) if len(y.shape) < len(
                g.shape
            ) else by_y, transposed(y) @ g

        return y @ weight, gradient

    return product(y, tf.convert_to_tensor(weight))


def _down(tf: Any, adjoint: Any, weight: Any) -> Any:
    """Return adjoint W^T for every member."""
    transposed = tf.linalg.matrix_transpose

    @tf.custom_gradient
    def product(adjoint: Any, weight: Any) -> tuple:
        return adjoint @ transposed(weight), lambda g: (
            g @ weight,
            transposed(g) @ adjoint,
        )

    return product(adjoint, tf.convert_to_tensor(weight))


def values(tf: Any, activation: str, weights: list, biases: list, x: Any) -> Any:
    """Return the outputs of all members.

    Parameters
    ----------
    tf : module
        TensorFlow.
    activation : str
        Name of the activation.
    weights, biases : list of tensor
        One tensor per layer, of shapes (members, in, out) and (members, 1, out).
    x : tensor, shape (batch, d) or (members, batch, d)
        Inputs.

    Returns
    -------
    tensor, shape (members, batch)
        The outputs.
    """
    y = x
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        y = TRAINABLE[activation](tf, _up(tf, y, weight) + bias)[0]
    return (_up(tf, y, weights[-1]) + biases[-1])[..., 0]


def values_and_gradients(
    tf: Any,
    activation: str,
    weights: list,
    biases: list,
    x: Any,
    v: Any = None,
    order: int = 0,
) -> tuple:
    """Return the outputs, their gradients, and the derivatives of the gradients along v up to `order`.

    Parameters
    ----------
    tf, activation, weights, biases, x
        The arguments of `values`.
    v : tensor, shape of x
        Directions; not used if `order` is 0.
    order : int
        Highest derivative of the gradients along v, from 0 to 2.

    Returns
    -------
    output : tensor, shape (members, batch)
        The outputs.
    *derivatives : tensor, shape (members, batch, d)
        The gradients; for order 1 also the Hessians times v; for order 2 also D^3 f[v,
        v, .].
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
        terms = [
            [a * slope[n - k] for k, a in enumerate(adjoint[: n + 1])]
            for n in range(order + 1)
        ]
        adjoint = _each(tf, _down, [reduce(add, each) for each in terms], weight)
    return output, *(factorial(n) * a for n, a in enumerate(adjoint))


def _each(tf: Any, product: Callable, series: list, weight: Any) -> list:
    """Multiply all coefficients of a power series by a weight in one product, and return the list of results."""
    return tf.split(
        product(tf, tf.concat(series, axis=-2), weight), len(series), axis=-2
    )


def _composed(derivatives: Sequence, others: list, order: int) -> list:
    """Return the coefficients, up to `order`, of a function of a power series.

    `derivatives` are the value and the derivatives of the function at the zeroth coefficient, and `others` are the
    first and the second coefficient of the series. A second coefficient that is missing is zero.
    """
    series = [derivatives[0]] + [derivatives[1] * z for z in others]
    if order == 2:
        bent = derivatives[2] * others[0] ** 2 / 2
        series[2:] = [series[2] + bent if len(series) > 2 else bent]
    return series


@dataclass(frozen=True)
class Program:
    """A compiled training with its variables.

    Parameters
    ----------
    variables : list of keras.Variable
        Weights (members, in, out) and biases (members, 1, out), alternating from layer
        to layer.
    optimizer : keras.optimizers.Optimizer
        The optimizer of the variables.
    fresh : list of ndarray
        State of the optimizer before the first step.
    rates : list of keras.Variable
        Variables of the learning-rate schedule: steps of its rise, steps of its fall,
        and peaks.
    run : callable
        Runs the steps of an epoch as one XLA program. Maps (inputs, fitted, order,
        steps, weights) to each member's mean loss, shape (members,).
    predict : callable
        Maps inputs of shape (n, d) to the members' outputs, shape (members, n).
    """

    variables: list
    optimizer: Any
    fresh: list
    rates: list
    run: Callable
    predict: Callable

    def begin(self, config: TrainingConfig, weights: list) -> None:
        """Set the weights, the optimizer's state and its learning rates to their values before the first step."""
        state = [*self.variables, *self.optimizer.variables, *self.rates]
        peaks = np.broadcast_to(
            np.asarray(config.learning_rate, np.float32), len(config.seeds)
        ).reshape(-1, 1, 1)
        rates = [config.warmup, max(1, config.steps - config.warmup), peaks]
        for variable, value in zip(state, [*weights, *self.fresh, *rates], strict=True):
            variable.assign(value)


def program(config: TrainingConfig) -> Program:
    """Return the compiled program of a configuration.

    Configurations share a program if they differ only in their data, the number of steps, the learning rate or the
    values of the seeds. The variables of a new program are zero, and those of a shared one hold the result of the last
    training.
    """
    alike = replace(
        config,
        sampling="attractive",
        depth=1.0,
        min_scale=0.0,
        samples=config.batch,
        sample_sets=None,
        validation=1,
        sample_seed=0,
        steps=1,
        warmup=0,
        learning_rate=1.0,
        seeds=tuple(range(len(config.seeds))),
    )
    return _compiled(alike)


@lru_cache(maxsize=4)
def _compiled(config: TrainingConfig) -> Program:
    """Build the variables, the optimizer and the two XLA programs of a configuration, and return them as a Program.

    `config` comes from `program`, which has replaced all fields that the compiled code does not depend on. It serves as
    the key of the cache.
    """
    tf, keras = tensorflow.load()
    sizes, members = (config.d, *config.hidden, 1), len(config.seeds)
    shapes = [
        shape
        for i, o in zip(sizes[:-1], sizes[1:], strict=True)
        for shape in ((members, i, o), (members, 1, o))
    ]
    variables = [
        keras.Variable(np.zeros(shape, np.float32), name=f"weight_{k}")
        for k, shape in enumerate(shapes)
    ]
    schedule, rates = _schedule(keras, members)
    optimizer = _optimizer(keras, config.optimizer, schedule)
    optimizer.build(variables)
    order = FITS.index(config.fit)

    def evaluate(x: Any, v: Any = None) -> Any:
        network = (tf, config.activation, variables[0::2], variables[1::2], x)
        return (
            values_and_gradients(*network, v, order - 1)
            if order
            else [values(*network)]
        )

    def step(inputs: list, fitted: list, rows: Any, weights: Any) -> Any:
        """Take one step on the samples `rows`, and return the loss of each member, shape (members,)."""
        with tf.GradientTape() as tape:
            chosen = [tf.gather(array, rows) for array in inputs]
            outputs = evaluate(*chosen)
            loss = 0.0
            for number, (output, array) in enumerate(zip(outputs, fitted, strict=True)):
                residual = tf.reshape(
                    output - tf.gather(array, rows), (len(config.seeds), -1)
                )
                loss += weights[number] * tf.reduce_mean(residual**2, axis=1)
            # Members share no weights, so the gradient of the summed loss is the
            # gradient of each member's own loss.
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
    """Return a learning-rate schedule and its variables, which `Program.begin` sets.

    The rate rises linearly over the warm-up and then falls to zero as a cosine.
    """
    rises, falls = (keras.Variable(1.0, name=name) for name in ("rises", "falls"))
    peaks = keras.Variable(np.ones((members, 1, 1), np.float32), name="peaks")

    class Schedule(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step: Any) -> Any:
            step = keras.ops.minimum(keras.ops.cast(step, "float32"), rises + falls)
            falling = 0.5 * (
                1.0 + keras.ops.cos(np.float32(np.pi) * ((step - rises) / falls))
            )
            return keras.ops.where(step < rises, step / rises, falling) * peaks.value

    return Schedule(), [rises, falls, peaks]


def _optimizer(keras: Any, name: str, schedule: Any) -> Any:
    """Return the Keras optimizer of this name, with the given learning-rate schedule."""

    # Keras has no public way to choose the variables whose updates Muon orthogonalises.
    # It also scales the rate by the whole shape of a variable, which begins with the
    # member axis here. A test compares the update of each member with the update by
    # Keras' own Muon on that member alone.
    class Muon(keras.optimizers.Muon):
        """Muon on the last two axes, so that the members do not influence each other."""

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
