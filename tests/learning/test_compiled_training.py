"""Test the compiled program.

Its derivatives are compared with nested gradient tapes and with the package's float64 derivative tensors, and its steps
with the same steps run eagerly.
"""

import dataclasses
from importlib.util import find_spec

import numpy as np
import pytest
from trainings import SMALL, TARGET

from paperlib._support import tensorflow as _tensorflow
from paperlib.learning import compiled_training
from paperlib.learning.tensorflow_activations import TRAINABLE
from paperlib.learning.training import FITS, train_ensemble
from paperlib.networks.mlp import MLP
from paperlib.taylor.tensors import derivative_tensor

if find_spec("tensorflow") is None:
    pytest.skip("training needs the [train] extra", allow_module_level=True)

MEMBERS, BATCH, WIDTHS = 3, 4, (5, 7, 6, 1)


@pytest.fixture(scope="module")
def tf():
    return _tensorflow.load()[0]


@pytest.fixture(scope="module")
def stacked():
    random = np.random.default_rng(0)
    pairs = list(zip(WIDTHS[:-1], WIDTHS[1:], strict=True))
    weights = [random.standard_normal((MEMBERS, a, b)) / np.sqrt(a) for a, b in pairs]
    biases = [0.3 * random.standard_normal((MEMBERS, 1, b)) for _, b in pairs]
    x, v = random.standard_normal((2, MEMBERS, BATCH, WIDTHS[0]))
    return weights, biases, x, v


def test_every_activation_has_a_test():
    assert set(TRAINABLE) == {"gelu", "sigmoid", "silu", "softplus", "tanh"}


@pytest.mark.parametrize("activation", TRAINABLE)
def test_against_nested_tapes(tf, stacked, activation):
    weights, biases, x, v = (
        [tf.constant(a) for a in part] if isinstance(part, list) else tf.constant(part)
        for part in stacked
    )
    # Keras' own gelu rounds the square root of two to single precision.
    phi = (
        (lambda z: z * tf.math.erfc(-z / np.sqrt(2)) / 2)
        if activation == "gelu"
        else getattr(tf.keras.activations, activation)
    )
    with tf.GradientTape() as outermost:
        outermost.watch(x)
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = x
                for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
                    y = phi(y @ weight + bias)
                output = (y @ weights[-1] + biases[-1])[..., 0]
                total = tf.reduce_sum(output)
            gradient = inner.gradient(total, x)
            along = tf.reduce_sum(gradient * v)
        product = outer.gradient(along, x)
        twice_along = tf.reduce_sum(product * v)
    third = outermost.gradient(twice_along, x)
    arguments = (tf, activation, weights, biases, x)
    for order in (0, 1, 2):
        ours, theirs = (
            compiled_training.values_and_gradients(*arguments, v, order),
            (output, gradient, product, third),
        )
        for one, other in zip(ours, theirs[: order + 2], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("activation", TRAINABLE)
def test_against_the_derivative_tensors(tf, stacked, activation):
    weights, biases, x, v = stacked
    tensors = [tf.constant(a) for a in weights], [tf.constant(a) for a in biases]
    output, gradient, product, third = compiled_training.values_and_gradients(
        tf, activation, *tensors, tf.constant(x), tf.constant(v), order=2
    )
    for member in range(MEMBERS):
        mlp = MLP(
            [w[member].T for w in weights], [b[member, 0] for b in biases], activation
        )
        np.testing.assert_allclose(output[member], mlp(x[member]), rtol=1e-12)
        for sample in range(BATCH):
            at = x[member, sample]
            np.testing.assert_allclose(
                gradient[member, sample],
                derivative_tensor(mlp, 1, at).packed,
                rtol=1e-10,
            )
            hessian = derivative_tensor(mlp, 2, at).full()
            along = v[member, sample]
            np.testing.assert_allclose(
                product[member, sample], hessian @ along, rtol=1e-10, atol=1e-12
            )
            cubic = derivative_tensor(mlp, 3, at).full() @ along @ along
            np.testing.assert_allclose(
                third[member, sample], cubic, rtol=1e-9, atol=1e-11
            )


def test_one_batch_may_serve_all_members(tf, stacked):
    weights, biases, x, _ = stacked
    network = (tf, "tanh", weights, biases)
    repeated = tf.constant(np.repeat(x[:1], MEMBERS, axis=0))
    for one, each in zip(
        compiled_training.values_and_gradients(*network, tf.constant(x[0])),
        compiled_training.values_and_gradients(*network, repeated),
        strict=True,
    ):
        np.testing.assert_allclose(one, each, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("fit", FITS)
def test_the_compiled_program_does_what_its_python_does(fit):
    """The same steps are run eagerly, operation by operation.

    The last bits differ, and the difference grows with the steps.
    """
    import tensorflow as tf

    config = dataclasses.replace(SMALL, fit=fit, steps=32)
    compiled = train_ensemble(config, TARGET)
    compiled_training._compiled.cache_clear()
    tf.config.run_functions_eagerly(True)
    try:
        eager = train_ensemble(config, TARGET)
    finally:
        tf.config.run_functions_eagerly(False)
        compiled_training._compiled.cache_clear()
    np.testing.assert_allclose(eager.loss, compiled.loss, rtol=1e-3)
    for one, other in zip(eager.members, compiled.members, strict=True):
        for a, b in zip(one.weights, other.weights, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-4)


def test_each_member_is_turned_as_keras_own_muon_would_turn_it_alone(tf, stacked):
    """Compare with Keras' own Muon on each member alone.

    The package overrides two private methods of Muon. This test fails if Keras renames them or scales the rate
    differently.
    """
    weights, biases, *_ = stacked
    keras, random = _tensorflow.load()[1], np.random.default_rng(5)
    first = weights[1], biases[1][:, 0]
    steps = [[random.standard_normal(array.shape) for array in first] for _ in range(3)]

    def turned(optimizer, shaped):
        variables = [keras.Variable(shaped(array), dtype="float32") for array in first]
        optimizer.build(variables)
        for step in steps:
            optimizer.apply(
                [tf.constant(shaped(array), "float32") for array in step], variables
            )
        return [variable.numpy() for variable in variables]

    ours = turned(
        compiled_training._optimizer(keras, "muon", 1e-2),
        lambda array: array.reshape(MEMBERS, -1, array.shape[-1]),
    )
    for member in range(MEMBERS):
        own = keras.optimizers.Muon(1e-2, weight_decay=None, adam_weight_decay=None)
        for mine, alone in zip(
            ours, turned(own, lambda array: array[member]), strict=True
        ):
            np.testing.assert_allclose(
                mine[member].reshape(alone.shape), alone, rtol=1e-4, atol=1e-6
            )
