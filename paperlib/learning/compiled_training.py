r"""Compile the training of an ensemble to one XLA program that runs an epoch.

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

Compiling takes some seconds, so trainings that differ only in their data share a
program, for example the orders of an iteration or the rows of a table. A program has
its own variables, so only one training may use it at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial, reduce
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
            g_y = g @ transposed(weight)
            if len(y.shape) < len(g.shape):  # all members share y
                g_y = tf.reduce_sum(g_y, axis=0)
            return g_y, transposed(y) @ g

        return y @ weight, gradient

    return product(y, tf.convert_to_tensor(weight))


def _down(tf: Any, adjoint: Any, weight: Any) -> Any:
    """Return adjoint W^T for every member."""
    transposed = tf.linalg.matrix_transpose

    @tf.custom_gradient
    def product(adjoint: Any, weight: Any) -> tuple:
        def gradient(g: Any) -> tuple:
            return g @ weight, transposed(g) @ adjoint

        return adjoint @ transposed(weight), gradient

    return product(adjoint, tf.convert_to_tensor(weight))


def values_and_gradients(
    tf: Any,
    activation: str,
    weights: list,
    biases: list,
    x: Any,
    v: Any = None,
    order: int = 0,
) -> tuple:
    """Return the outputs, their gradients and the derivatives of these along v.

    A compiled caller does not pay for results that it does not use.

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
    series = [x, v][: order + 1]
    slopes = []
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        first, *others = _each(tf, _up, series, weight)
        derivatives = TRAINABLE[activation](tf, first + bias)
        series = _composed(derivatives, others, order)
        slopes.append(_composed(derivatives[1:], others, order))
    output = (_up(tf, series[0], weights[-1]) + biases[-1])[..., 0]
    adjoint = [tf.linalg.matrix_transpose(weights[-1])]
    for weight, slope in zip(reversed(weights[:-1]), reversed(slopes), strict=True):
        adjoint = _each(tf, _down, _multiplied(adjoint, slope), weight)
    return output, *(factorial(n) * a for n, a in enumerate(adjoint))


def _each(tf: Any, product: Callable, series: list, weight: Any) -> list:
    """Multiply all coefficients of a power series by a weight in one product."""
    products = product(tf, tf.concat(series, axis=-2), weight)
    return tf.split(products, len(series), axis=-2)


def _multiplied(series: list, factor: list) -> list:
    """Return the product of two power series up to the order of `factor`."""
    products = []
    for n in range(len(factor)):
        terms = [each * factor[n - k] for k, each in enumerate(series[: n + 1])]
        products.append(reduce(add, terms))
    return products


def _composed(derivatives: Sequence, others: list, order: int) -> list:
    """Return the coefficients, up to `order`, of a function of a power series.

    `derivatives` are the value and the derivatives of the function at the zeroth
    coefficient, and `others` are the first and the second coefficient of the series. A
    missing second coefficient is zero.
    """
    series = [derivatives[0]] + [derivatives[1] * z for z in others]
    if order == 2:
        curved = derivatives[2] * others[0] ** 2 / 2
        series[2:] = [each + curved for each in series[2:]] or [curved]
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
        """Set the weights, the optimizer's state and its rates for the first step."""
        state = [*self.variables, *self.optimizer.variables, *self.rates]
        peaks = np.empty((len(config.seeds), 1, 1), np.float32)
        peaks[:, 0, 0] = config.learning_rate
        rates = [config.warmup, max(1, config.steps - config.warmup), peaks]
        for variable, value in zip(state, [*weights, *self.fresh, *rates], strict=True):
            variable.assign(value)


def program(config: TrainingConfig) -> Program:
    """Return the compiled program of a configuration.

    Configurations share a program if they agree in the architecture, the fit, the
    optimizer and the number of seeds. The variables of a new program are zero, and the
    variables of a shared one hold the result of the last training.
    """
    return _compiled(
        (config.d, *config.hidden, 1),
        len(config.seeds),
        config.activation,
        config.fit,
        config.optimizer,
    )


@lru_cache(maxsize=4)
def _compiled(
    sizes: tuple[int, ...], members: int, activation: str, fit: str, optimizer: str
) -> Program:
    """Build the variables, the optimizer and the two XLA programs.

    `sizes` are the widths of the layers, from the inputs to the output.
    """
    tf, keras = tensorflow.load()
    variables: list = []
    for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True):
        for rows in (inputs, 1):
            zeros = np.zeros((members, rows, outputs), np.float32)
            variables.append(keras.Variable(zeros, name=f"weight_{len(variables)}"))
    schedule, rates = _schedule(keras, members)
    rule = _optimizer(keras, optimizer, schedule)
    rule.build(variables)
    network = partial(
        values_and_gradients, tf, activation, variables[0::2], variables[1::2]
    )

    @tf.function(jit_compile=True)
    def predict(x: Any) -> Any:
        return network(x)[0]

    fresh = [variable.numpy() for variable in rule.variables]
    run = _epoch(tf, network, FITS.index(fit), rule, variables)
    return Program(variables, rule, fresh, rates, run, predict)


def _epoch(
    tf: Any, network: Callable, fit: int, optimizer: Any, variables: list
) -> Callable:
    """Return the XLA program of an epoch; see `Program.run`.

    `network` maps inputs, directions and an order to the results of
    `values_and_gradients`. `fit` is the highest derivative that is fitted.
    """
    members = variables[0].shape[0]

    def step(inputs: list, fitted: list, rows: Any, weights: Any) -> Any:
        """Take a step on the samples `rows`; return the loss of each member."""
        with tf.GradientTape() as tape:
            chosen = [tf.gather(array, rows) for array in inputs]
            outputs = network(*chosen, order=max(0, fit - 1))[: fit + 1]
            loss = 0.0
            for number, (output, array) in enumerate(zip(outputs, fitted, strict=True)):
                residual = output - tf.gather(array, rows)
                squares = tf.reshape(residual, (members, -1)) ** 2
                loss += weights[number] * tf.reduce_mean(squares, axis=1)
            # Members share no weights, so the gradient of the summed loss is the
            # gradient of each member's own loss.
            total = tf.reduce_sum(loss)
        optimizer.apply(tape.gradient(total, variables), variables)
        return loss

    @tf.function(jit_compile=True)
    def run(inputs: list, fitted: list, order: Any, steps: Any, weights: Any) -> Any:
        def body(number: Any, total: Any) -> tuple:
            return number + 1, total + step(inputs, fitted, order[number], weights)

        start = (0, tf.zeros(members))
        _, total = tf.while_loop(lambda number, _: number < steps, body, start)
        return total / tf.cast(steps, tf.float32)

    return run


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
    """Return the Keras optimizer of this name with a learning-rate schedule."""

    # Keras has no public way to choose the variables whose updates Muon orthogonalises.
    # It also scales the rate by the whole shape of a variable, which begins with the
    # member axis here. A test compares the update of each member with the update by
    # Keras' own Muon on that member alone.
    class Muon(keras.optimizers.Muon):
        """Muon on the last two axes, so that members do not influence each other."""

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
