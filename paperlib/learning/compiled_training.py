r"""Compile the training of an ensemble to one XLA program that runs an epoch.

An ensemble consists of networks f of the same shape, its members. The weights of layer
l of all members are stacked in one array :math:`W^l` of shape (members, in, out), so
that the product of inputs and weights is one batched product.

`values_and_gradients` computes the outputs f(x), their gradients with respect to the
inputs x, and the derivatives of these gradients along a direction v. It evaluates the
network on the line x + t v, where every quantity is a power series in the number t. The
series are truncated after the order that the training fits. With :math:`y^0 = x + t v`,
biases b, pre-activations z and the activation :math:`\varphi`, layer l computes

.. math::
    z^l(t) = y^{l-1}(t)\, W^l + b^l, \qquad y^l(t) = \varphi(z^l(t)).

Afterwards, the adjoint :math:`\lambda^l`, the derivative of the output with respect to
:math:`y^l`, is computed from the last hidden layer to the inputs. This is the paper's
chain of propagators:

.. math::
    \lambda^{l-1}(t) = \big(\varphi'(z^l(t))\, \lambda^l(t)\big) W^{l\,T}.

The coefficients of :math:`\lambda^0(t)` are the gradient, the Hessian times v, and half
of :math:`D^3 f[v, v, \cdot]`. A layer multiplies the coefficients of all orders in t by
its weights in one product. Automatic differentiation is used once, for the derivatives
of the loss with respect to the weights. Nested automatic differentiation takes about as
long, but creates products with transposed operands, whose last bits depend on the
processor (see `_up`).

Compiling takes some seconds. Trainings with the same architecture, quantities to fit,
optimizer and number of members therefore share a compiled program, for example the
trainings of `perturbation.iterative`. The program has its own variables, so only one
training may use it at a time.
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

# `_up` and `_down` define the gradients of their matrix products themselves, and
# transpose a matrix explicitly before they multiply it. Automatic differentiation would
# instead create a product with a transposed operand. For such a product XLA calls a
# library that sums over blocks as large as the processor's cache. The last bits would
# then depend on the processor.


def _up(tf: Any, y: Any, weight: Any) -> Any:
    """Return the product y @ weight for every member.

    `weight` has the shape (members, in, out). `y` has the shape (members, rows, in), or
    (rows, in) if all members share it. The result has the shape (members, rows, out).
    """
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
    """Return the product of `adjoint` and the transposed weights for every member.

    `adjoint` has the shape (members, rows, out), `weight` the shape (members, in, out),
    and the result the shape (members, rows, in).
    """
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
    """Return networks' outputs and gradients, and derivatives of the gradients along v.

    If a compiled function calls this one, XLA removes the computation of the results
    that it does not use.

    Parameters
    ----------
    tf : module
        The imported module TensorFlow.
    activation : str
        Name of the activation of all hidden layers, a key of TRAINABLE.
    weights, biases : list of tensor
        One tensor for each layer, of shapes (members, in, out) and (members, 1, out).
        The last layer is linear and has one output.
    x : tensor, shape (members, batch, d), or (batch, d) if all members share it
        Inputs.
    v : tensor, shape of x
        One direction for each input. It may be None if `order` is 0.
    order : int
        Number of derivatives of the gradients along v, from 0 to 2.

    Returns
    -------
    output : tensor, shape (members, batch)
        The outputs f(x).
    *derivatives : tensor, shape (members, batch, d)
        order + 1 tensors: the gradients of f; from order 1 the Hessians of f times v;
        and for order 2 the vectors D^3 f[v, v, .] of third derivatives.
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
    """Multiply all coefficients of a power series by a weight in one product.

    `series` is the list of coefficients, beginning with the constant. `product` is
    `_up`, which multiplies by the weights, or `_down`, which multiplies by the
    transposed weights. `weight` has the shape (members, in, out). Returned is the list
    of the products, in the order of the coefficients.
    """
    products = product(tf, tf.concat(series, axis=-2), weight)
    return tf.split(products, len(series), axis=-2)


def _multiplied(series: list, factor: list) -> list:
    """Return the coefficients of the product of two power series.

    Both arguments are lists of coefficients, beginning with the constant. The result
    has the length of `factor`. Coefficients that `series` lacks are zero.
    """
    products = []
    for n in range(len(factor)):
        terms = [each * factor[n - k] for k, each in enumerate(series[: n + 1])]
        products.append(reduce(add, terms))
    return products


def _composed(derivatives: Sequence, others: list, order: int) -> list:
    """Return the coefficients, up to `order`, of a function g of a power series z(t).

    `derivatives` are g, g' and, for order 2, g'' at the constant z_0 of the series.
    `others` are the coefficients z_1 and z_2 of t and t^2. The list is empty for order
    0, and z_2 may be missing if it is zero. The result is g, g' z_1 and g' z_2 +
    g'' z_1^2 / 2.
    """
    series = [derivatives[0]] + [derivatives[1] * z for z in others]
    if order == 2:
        curved = derivatives[2] * others[0] ** 2 / 2
        series[2:] = [each + curved for each in series[2:]] or [curved]
    return series


@dataclass(frozen=True)
class Program:
    """Compiled functions for an epoch of training and for outputs, and their state.

    Parameters
    ----------
    variables : list of keras.Variable
        The weights (members, in, out) and biases (members, 1, out) of the first layer,
        then those of the second layer, and so on.
    optimizer : keras.optimizers.Optimizer
        The optimizer that changes the variables.
    fresh : list of ndarray
        The values of `optimizer.variables` before the first step.
    rates : list of keras.Variable
        The variables of the learning-rate schedule: the number of steps while the rate
        rises, the number of steps while it falls, and the peak of each member, shape
        (members, 1, 1).
    run : callable
        Takes the steps of one epoch in one XLA program. ``run(inputs, fitted, order,
        steps, weights)`` changes `variables` and returns the loss of each member,
        averaged over the steps, shape (members,). `inputs` are the potentials and, if
        the fit needs them, one direction for each potential, both of shape (samples,
        d). `fitted` are the quantities to fit: the values of the target, shape
        (samples,), and its derivatives up to the fit, shape (samples, d). `order` has
        the shape (steps of a full epoch, members, batch) and holds the indices of the
        samples that each member uses in each step. `steps` is the number of steps to
        take. `weights` are the factors of the mean squared errors in the loss, one for
        each fitted quantity.
    predict : callable
        Maps inputs of shape (n, d) to the outputs of the members, shape (members, n).
    """

    variables: list
    optimizer: Any
    fresh: list
    rates: list
    run: Callable
    predict: Callable

    def begin(self, config: TrainingConfig, weights: list) -> None:
        """Set all variables to their values before the first step of a training.

        `weights` are the initial weights and biases, in the order of `variables`. The
        optimizer's state is set to `fresh`, and the learning-rate schedule to the
        `steps`, `warmup` and `learning_rate` of the configuration.
        """
        state = [*self.variables, *self.optimizer.variables, *self.rates]
        peaks = np.empty((len(config.seeds), 1, 1), np.float32)
        peaks[:, 0, 0] = config.learning_rate
        rates = [config.warmup, max(1, config.steps - config.warmup), peaks]
        for variable, value in zip(state, [*weights, *self.fresh, *rates], strict=True):
            variable.assign(value)


def program(config: TrainingConfig) -> Program:
    """Return the compiled program of a configuration.

    Configurations share a program if their fields `d`, `hidden`, `activation`, `fit`
    and `optimizer` and the number of their `seeds` are equal. The last four programs
    are cached. The variables of a new program are zero, and the variables of a cached
    program hold the result of the last training. `Program.begin` sets them.
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
    """Build the variables, the optimizer and the two compiled functions of a Program.

    `sizes` are the number of inputs, the number of neurons of each hidden layer, and 1
    for the output. `members` is the number of networks that are trained together.
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
    """Return the function `run` of a Program, which takes the steps of an epoch.

    `network` is `values_and_gradients` with its arguments `x`, `v` and `order` left
    open. `fit` is the order of the highest derivative in the loss: 0 for values alone,
    1 for gradients, 2 for Hessian-vector products, 3 for third derivatives. `variables`
    are the weights and biases, layer by layer, which `optimizer` changes.
    """
    members = variables[0].shape[0]

    def step(inputs: list, fitted: list, rows: Any, weights: Any) -> Any:
        """Take one step on chosen samples, and return the loss of each member.

        `inputs`, `fitted` and `weights` are those of `run`: the potentials and possibly
        directions; the quantities to fit; and the factors of their squared errors.
        `rows` has the shape (members, batch) and holds the indices of the samples that
        each member uses in this step.
        """
        with tf.GradientTape() as tape:
            chosen = [tf.gather(array, rows) for array in inputs]
            outputs = network(*chosen, order=max(0, fit - 1))[: fit + 1]
            loss = 0.0
            for number, (output, array) in enumerate(zip(outputs, fitted, strict=True)):
                residual = output - tf.gather(array, rows)
                squares = tf.reshape(residual, (members, -1)) ** 2
                loss += weights[number] * tf.reduce_mean(squares, axis=1)
            # Members share no weights, so the gradient of the summed loss with respect
            # to the weights of a member is the gradient of that member's loss.
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
    """Return a learning-rate schedule and its three variables.

    The variables are the number of steps while the rate rises, the number of steps
    while it falls, and the peak of each member, shape (members, 1, 1). `Program.begin`
    sets them. The rate rises linearly from 0 to the peak, then falls to 0 as half a
    cosine wave, and stays 0.
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
    """Return a new optimizer with a learning-rate schedule.

    `name` is "soap", "muon" or "adam". "muon" updates the weight matrices by Muon, and
    the biases and matrices with one row by Adam. No optimizer has weight decay.
    """

    # Keras has no public way to choose the variables whose updates Muon orthogonalises,
    # so a private method is overridden. Keras also scales the rate by the lengths of
    # the first two axes of a variable, and the first axis here is that of the members.
    # A test compares the update of each member with the update by Keras' own Muon on
    # that member alone.
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
