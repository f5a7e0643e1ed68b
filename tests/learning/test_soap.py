from importlib.util import find_spec

import numpy as np
import pytest
from oracles import refusal

from paperlib._support import tensorflow as _tensorflow

if find_spec("tensorflow") is None:
    pytest.skip(
        "SOAP is a Keras optimizer: it needs the [train] extra", allow_module_level=True
    )

tf, keras = _tensorflow.load()

from paperlib.learning.soap import SOAP  # noqa: E402


def soap_by_numpy(
    weights, gradients, rate, beta_1=0.95, beta_2=0.95, epsilon=1e-8, frequency=10
):
    """Run the algorithm of arXiv:2409.11321 independently, in double precision, with the momentum stored unrotated."""
    weights = weights.astype(float)
    momentum, second, bases = np.zeros_like(weights), np.zeros_like(weights), None
    left, right = (np.zeros((n, n)) for n in weights.shape)
    for step, gradient in enumerate(gradients):
        if bases is not None:
            q, p = bases
            rotated = q.T @ gradient @ p
            momentum = beta_1 * momentum + (1 - beta_1) * gradient
            second = beta_2 * second + (1 - beta_2) * rotated**2
            corrected = (q.T @ momentum @ p) / (1 - beta_1**step)
            weights = (
                weights
                - rate
                * q
                @ (corrected * np.sqrt(1 - beta_2**step) / (np.sqrt(second) + epsilon))
                @ p.T
            )
        left = beta_2 * left + (1 - beta_2) * gradient @ gradient.T
        right = beta_2 * right + (1 - beta_2) * gradient.T @ gradient
        if bases is None:
            bases = [np.linalg.eigh(m)[1][:, ::-1] for m in (left, right)]
        elif step % frequency == 0:
            orders = [
                np.argsort(-np.diag(b.T @ m @ b))
                for b, m in zip(bases, (left, right), strict=True)
            ]
            second = second[np.ix_(*orders)]
            bases = [
                np.linalg.qr(m @ b[:, o])[0]
                for m, b, o in zip((left, right), bases, orders, strict=True)
            ]
    return weights


def run(optimizer, variables, gradients):
    optimizer.build(variables)

    @tf.function(jit_compile=True)
    def step(*gradient):
        optimizer.apply(list(gradient), variables)

    for gradient in gradients:
        step(*(tf.constant(g, tf.float32) for g in gradient))


@pytest.mark.parametrize("shape", [(6, 6), (3, 6, 6)])
def test_against_the_algorithm_in_numpy(shape):
    random = np.random.default_rng(0)
    start = random.standard_normal(shape).astype(np.float32)
    gradients = random.standard_normal((35, *shape)).astype(np.float32) * np.linspace(
        1, 3, 6
    )
    variable = keras.Variable(start)
    run(SOAP(1e-2), [variable], [[g] for g in gradients])
    for member, first in enumerate(start.reshape(-1, 6, 6)):
        expected = soap_by_numpy(
            first, gradients.reshape(35, -1, 6, 6)[:, member], 1e-2
        )
        np.testing.assert_allclose(
            variable.numpy().reshape(-1, 6, 6)[member], expected, atol=3e-6
        )
        assert np.abs(expected - first).max() > 0.05


@pytest.mark.parametrize(
    "options",
    [
        {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.1, "frequency": 3},
        {"beta_1": 0.9, "beta_2": 0.6, "epsilon": 1.0, "frequency": 1},
        {"beta_1": 0.0, "beta_2": 0.9, "epsilon": 1e-3, "frequency": 4},
    ],
)
def test_every_option_against_the_algorithm_in_numpy(options):
    random = np.random.default_rng(5)
    start = random.standard_normal((4, 4)).astype(np.float32)
    gradients = random.standard_normal((13, 4, 4)).astype(np.float32) * np.linspace(
        1, 3, 4
    )
    variable = keras.Variable(start)
    run(SOAP(1e-2, **options), [variable], [[g] for g in gradients])
    np.testing.assert_allclose(
        variable.numpy(), soap_by_numpy(start, gradients, 1e-2, **options), atol=3e-6
    )


@pytest.mark.parametrize("dtype, digits", [("float32", 3e-6), ("float64", 1e-8)])
def test_the_smallest_matrix_in_single_and_double_precision(dtype, digits):
    random = np.random.default_rng(6)
    start = random.standard_normal((2, 2)).astype(np.float32)
    gradients = random.standard_normal((9, 2, 2)).astype(np.float32) * np.linspace(
        1, 3, 2
    )
    # exact in both precisions
    variable, rate = keras.Variable(start, dtype=dtype), 2.0**-7
    options = {"beta_1": 0.5, "beta_2": 0.75, "frequency": 2}
    soap = SOAP(rate, **options)
    soap.build([variable])
    for gradient in gradients:
        soap.apply([tf.constant(gradient, dtype)])
    assert variable.dtype == dtype
    np.testing.assert_allclose(
        variable.numpy(), soap_by_numpy(start, gradients, rate, **options), atol=digits
    )


def test_its_configuration_makes_it_again():
    options = {
        "beta_1": 0.5,
        "beta_2": 0.25,
        "epsilon": 0.125,
        "frequency": 3,
        "name": "other",
        "clipnorm": 2.0,
    }
    config = SOAP(0.5, **options).get_config()
    assert {name: config[name] for name in options} == options and config[
        "learning_rate"
    ] == 0.5
    assert SOAP.from_config(config).get_config() == config
    paper = {
        "learning_rate": 3e-3,
        "beta_1": 0.95,
        "beta_2": 0.95,
        "epsilon": 1e-8,
        "frequency": 10,
    }
    assert {name: SOAP().get_config()[name] for name in paper} == pytest.approx(paper)
    assert SOAP().name == "soap"


def test_built_twice_it_keeps_its_state():
    variable = keras.Variable(np.ones((3, 2), np.float32))
    soap = SOAP(1e-2)
    soap.build([variable])
    assert len({made.path for made in soap.variables}) == len(soap.variables)
    state = list(soap.variables)
    soap.build([variable])
    assert [a is b for a, b in zip(state, soap.variables, strict=True)] == [True] * len(
        state
    )
    assert len(set(id(a) for a in state)) == len(state)


def test_against_pytorch_optimizer():
    torch = pytest.importorskip(
        "torch", reason="PyTorch is not in the lock: it is gigabytes"
    )
    theirs = pytest.importorskip(
        "pytorch_optimizer", reason="install pytorch-optimizer to compare with it"
    )
    random = np.random.default_rng(1)
    start = random.standard_normal((6, 6)).astype(np.float32)
    gradients = random.standard_normal((25, 6, 6)).astype(np.float32) * np.linspace(
        1, 3, 6, dtype=np.float32
    )
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimizer = theirs.SOAP(
        [parameter],
        lr=1e-2,
        betas=(0.95, 0.95),
        weight_decay=0.0,
        precondition_frequency=10,
        correct_bias=True,
    )
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
    variable = keras.Variable(start)
    run(SOAP(1e-2), [variable], [[g] for g in gradients])
    np.testing.assert_allclose(variable.numpy(), parameter.detach().numpy(), atol=1e-5)


def test_with_identity_bases_it_is_adam():
    """From the second step on, SOAP equals Adam for vectors, and for bases set to the identity and never updated."""
    random = np.random.default_rng(2)
    shapes = [(2, 4, 3), (2, 1, 3), (5,)]
    gradients = [[random.standard_normal(shape) for shape in shapes] for _ in range(12)]
    ours, adams = (
        [keras.Variable(np.ones(shape, np.float32)) for shape in shapes]
        for _ in range(2)
    )
    soap = SOAP(1e-2, beta_1=0.9, beta_2=0.99, frequency=10**6)
    run(soap, ours, gradients[:1])
    for value, shape in zip(ours, shapes, strict=True):
        np.testing.assert_array_equal(
            value.numpy(), np.ones(shape), err_msg="the first step moves nothing"
        )
    left, right = soap._sides[0]
    left.basis.assign(np.broadcast_to(np.eye(4), left.basis.shape))
    right.basis.assign(np.broadcast_to(np.eye(3), right.basis.shape))
    assert soap._sides[1:] == [(None, None)] * 2
    run(soap, ours, gradients[1:])
    run(
        keras.optimizers.Adam(1e-2, beta_1=0.9, beta_2=0.99, epsilon=1e-8),
        adams,
        gradients[1:],
    )
    for value, adam in zip(ours, adams, strict=True):
        np.testing.assert_allclose(value.numpy(), adam.numpy(), atol=2e-6)


def test_bases_stay_orthonormal_and_members_apart():
    random = np.random.default_rng(3)
    gradients = random.standard_normal((40, 2, 5, 4))
    both, alone = (
        keras.Variable(np.ones((2, 5, 4), np.float32)),
        keras.Variable(np.ones((1, 5, 4), np.float32)),
    )
    soap = SOAP(1e-2)
    run(soap, [both], [[g] for g in gradients])
    run(SOAP(1e-2), [alone], [[g[1:]] for g in gradients])
    for _, basis in soap._sides[0]:
        product = np.einsum("mij,mik->mjk", basis.numpy(), basis.numpy())
        np.testing.assert_allclose(
            product,
            np.broadcast_to(np.eye(product.shape[-1]), product.shape),
            atol=1e-5,
        )
    # The first 5 x 4 gradients leave a direction of the left space empty, so that
    # rounding determines its eigenvector. Therefore the weights are compared, not the
    # bases.
    np.testing.assert_allclose(both.numpy()[1], alone.numpy()[0], atol=2e-3)


# Powers of two scale a float exactly.
@pytest.mark.parametrize("scale", [2.0**-20, 2.0**-26, 2.0**-30])
def test_small_gradients_give_the_steps_of_large_ones(scale):
    """Without epsilon, SOAP does not depend on the scale of the gradients. In single precision the squares of products of small gradients underflow."""
    random = np.random.default_rng(5)
    left, right = random.standard_normal((2, 16, 16))
    gradients = [
        (
            left
            @ np.diag(0.5 ** np.arange(16))
            @ random.standard_normal((16, 16))
            @ right
        )
        for _ in range(45)
    ]
    variables = [keras.Variable(np.zeros((16, 16), np.float32)) for _ in range(2)]
    optimizers = [SOAP(1e-2, epsilon=0.0) for _ in range(2)]
    for optimizer, variable, factor in zip(optimizers, variables, (1.0, scale)):
        run(optimizer, [variable], [[factor * g] for g in gradients])
        for side in optimizer._sides[0]:
            basis = side.basis.numpy()
            np.testing.assert_allclose(basis.T @ basis, np.eye(16), atol=1e-5)
    large, small = (variable.numpy() for variable in variables)
    np.testing.assert_allclose(small, large, atol=1e-6)


def test_it_trains_a_keras_model_and_saves_its_configuration():
    random = np.random.default_rng(4)
    x = random.standard_normal((256, 6)).astype(np.float32)
    y = np.tanh(x[:, :1] * x[:, 1:2])
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(16, "gelu"), keras.layers.Dense(1)]
    )
    model.compile(SOAP(1e-2, frequency=5), "mse")
    losses = model.fit(x, y, batch_size=32, epochs=30, verbose=0).history["loss"]
    assert losses[-1] < 0.1 * losses[0]
    again = keras.optimizers.deserialize(keras.optimizers.serialize(model.optimizer))
    assert isinstance(again, SOAP) and again.frequency == 5


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"beta_1": 1.0}, "beta_1 = 1.0"),
        ({"beta_1": 1.5}, "beta_1 = 1.5"),
        ({"beta_2": -0.1}, "beta_2 = -0.1"),
        ({"beta_1": -0.1}, "beta_1 = -0.1"),
        ({"beta_2": 1.0}, "beta_2 = 1.0"),
        ({"beta_2": float("nan")}, "beta_2 = nan"),
        ({"frequency": 0}, "frequency = 0"),
        ({"frequency": 1.5}, "frequency = 1.5"),
        ({"epsilon": -1}, "epsilon = -1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(refusal(message), match=f"^{message}: must be[^\n]*$"):
        SOAP(**arguments)


def test_without_epsilon_a_weight_without_gradient_stays():
    variable = keras.Variable(np.array([[1.0, 2.0], [3.0, 4.0]], np.float32))
    optimizer = SOAP(0.1, epsilon=0.0)
    for step in range(12):
        optimizer.apply(
            [keras.ops.convert_to_tensor([[0.0, 0.0], [1.0 + step, 0.0]])], [variable]
        )
    left = np.asarray(variable)
    assert np.isfinite(left).all() and left[1, 0] < 3
    still = keras.Variable(np.ones((3, 2), np.float32))
    optimizer = SOAP(0.1, epsilon=0.0)
    for _ in range(12):
        optimizer.apply([keras.ops.zeros((3, 2))], [still])
    assert np.array_equal(np.asarray(still), np.ones((3, 2)))


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_half_precision_is_turned_in_single(kind):
    random = np.random.default_rng(0)
    gradients = [random.standard_normal((4, 3)).astype(np.float32) for _ in range(25)]
    half = keras.Variable(np.ones((4, 3), np.float32), dtype=kind)
    full = keras.Variable(np.ones((4, 3), np.float32))
    optimizers = SOAP(1e-2), SOAP(1e-2)
    for gradient in gradients:
        optimizers[0].apply([keras.ops.cast(gradient, kind)], [half])
        optimizers[1].apply(
            [keras.ops.cast(keras.ops.cast(gradient, kind), "float32")], [full]
        )
    moved = np.asarray(full) - 1
    assert (
        np.abs(np.asarray(keras.ops.cast(half, "float32")) - np.asarray(full)).max()
        < 0.3 * np.abs(moved).max()
    )
    assert {
        str(variable.dtype)
        for variable in optimizers[0].variables
        if "basis" in variable.path
    } == {"float32"}


@pytest.mark.parametrize("shape", [(20, 3), (3, 20)])
def test_a_long_side_gets_no_basis(shape):
    """Only the shorter side is rotated, as if the eigenvectors of the long side were the unit vectors."""
    variable = keras.Variable(np.ones(shape, np.float32))
    optimizer = SOAP(1e-2, longest=10)
    random = np.random.default_rng(0)
    for _ in range(15):
        optimizer.apply(
            [
                keras.ops.convert_to_tensor(
                    random.standard_normal(shape).astype(np.float32)
                )
            ],
            [variable],
        )
    assert [
        tuple(each.shape) for each in optimizer.variables if "basis" in each.path
    ] == [(3, 3)]
    assert np.isfinite(np.asarray(variable)).all()
    plain = keras.Variable(np.ones((20, 30), np.float32))
    optimizer, adam = SOAP(1e-2, longest=10), SOAP(1e-2)
    flat = keras.Variable(np.ones(600, np.float32))
    for _ in range(5):
        gradient = random.standard_normal((20, 30)).astype(np.float32)
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [plain])
        adam.apply([keras.ops.convert_to_tensor(gradient.ravel())], [flat])
    np.testing.assert_allclose(np.asarray(plain).ravel(), np.asarray(flat), rtol=1e-6)


def test_one_sided_against_the_algorithm_in_numpy():
    random = np.random.default_rng(3)
    gradients = random.standard_normal((8, 6, 3))
    variable = keras.Variable(np.zeros((6, 3)), dtype="float64")
    optimizer = SOAP(0.125, longest=5, frequency=1000)
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    basis = np.linalg.eigh(0.05 * gradients[0].T @ gradients[0])[1][:, ::-1]
    weights, m, v = np.zeros((6, 3)), np.zeros((6, 3)), np.zeros((6, 3))
    for step, gradient in enumerate(gradients[1:], start=1):
        rotated = gradient @ basis
        m, v = m + 0.05 * (rotated - m), v + 0.05 * (rotated**2 - v)
        weights -= (
            0.125
            * (m / (np.sqrt(v) + 1e-8) * np.sqrt(1 - 0.95**step) / (1 - 0.95**step))
            @ basis.T
        )
    np.testing.assert_allclose(np.asarray(variable), weights, rtol=1e-9)
