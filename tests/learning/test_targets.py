import dataclasses
import sys

import numpy as np
import oracles
import pytest
from oracles import refusal

from paperlib import born, potentials, targets
from paperlib.taylor.symmetric import SymmetricTensor, packed_size

D = 6


@pytest.fixture(scope="module")
def U():
    return potentials.sample(8, D, depth=2.0, kind="signed", seed=1)


@pytest.fixture(scope="module")
def v():
    return np.random.default_rng(2).standard_normal((8, D))


def random_tensors(orders, d=D, seed=0):
    random = np.random.default_rng(seed)
    tensors = []
    for order in orders:
        size = born.born_tensor(order, d).packed.size
        tensors.append(SymmetricTensor(order, d, random.standard_normal(size)))
    return tensors


def check_derivatives(target, U, v, digits):
    """Compare gradients with differences of values, and Hessian-vector products with differences of gradients."""
    step = 1e-5
    slope = (target.values(U + step * v) - target.values(U - step * v)) / (2 * step)
    along = (target.gradients(U) * v).sum(axis=1)
    np.testing.assert_allclose(along, slope, atol=digits * np.abs(slope).max())
    turn = (target.gradients(U + step * v) - target.gradients(U - step * v)) / (
        2 * step
    )
    np.testing.assert_allclose(
        target.hessian_vectors(U, v), turn, atol=digits * np.abs(turn).max() + 1e-12
    )
    separate = target.values(U), target.gradients(U), target.hessian_vectors(U, v)
    for one, other in zip(
        target.evaluate_fit("hessian_vectors", U, v), separate, strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-13 * np.abs(other).max())


def test_the_scattering_length_has_its_derivatives(U, v):
    check_derivatives(targets.scattering_length_target(), U, v, 1e-6)


@pytest.mark.parametrize("orders", [1, 2, 3])
def test_remainders_have_their_derivatives(U, v, orders):
    exact = [born.born_tensor(n, D) for n in range(1, orders + 1)]
    check_derivatives(targets.scattering_length_target(minus=exact), U, v, 1e-5)


@pytest.mark.parametrize(
    "kind, depth", [("attractive", 1.0), ("signed", 1.0), ("signed", 1e-3)]
)
@pytest.mark.parametrize("orders", [1, 2, 4])
def test_remainders_do_not_cancel(kind, depth, orders):
    """Compared with 40 digits, the error is below 1e-9 of the remainder's root mean square, even if that is 1e-23."""
    U = potentials.sample(6, 16, depth=depth, kind=kind, seed=0)
    values = targets.scattering_length_target(
        minus=[born.born_tensor(n, 16) for n in range(1, orders + 1)]
    ).values(U)
    exact = [
        oracles.scattering_length(u) - sum(oracles.born_terms(u, orders)) for u in U
    ]
    size = np.sqrt(np.mean([float(e) ** 2 for e in exact]))
    assert (
        max(abs(float(value - e)) for value, e in zip(values, exact, strict=True))
        < 1e-9 * size
    )


@pytest.mark.parametrize(
    "kind, smallest, orders",
    [("sparse", 0.0, 3), ("signed", 0.2, 2), ("signed", 0.8, 4)],
)
def test_the_difference_is_accurate_enough_for_training(kind, smallest, orders):
    """The iteration subtracts by a plain difference. On potentials of the trainings its rounding error is below 1e-9 of the remainder, and networks are trained in single precision."""
    U = potentials.sample(
        200, 64, depth=0.8, kind=kind, smallest=smallest, radial_power=-1, seed=3
    )
    tensors = [born.born_tensor(n, 64) for n in range(1, orders + 1)]
    exact = targets.scattering_length_target(minus=tensors).values(U)
    plain = targets.scattering_length_target().subtract(tensors).values(U)
    assert np.abs(plain - exact).max() < 1e-9 * exact.std()


def test_remainder_of_learned_tensors(U):
    """With inexact tensors, the remainder contains the error of the tensors."""
    first = born.born_tensor(1, D)
    off = targets.scattering_length_target(minus=[first * 1.01])
    right = targets.scattering_length_target(minus=[first])
    np.testing.assert_allclose(
        off.values(U) - right.values(U), -0.01 * first.contract(U), rtol=1e-9
    )
    assert off.name != right.name


def test_born_remainder_is_what_the_terms_leave():
    from paperlib.physics.scattering import scattering_length

    U = potentials.sample(5, 8, depth=3.0, seed=4)
    for order in (1, 3, 6):
        expected = scattering_length(U) - born.born_approximation(U, order)
        np.testing.assert_allclose(
            born.born_remainder(U, order), expected, rtol=1e-9, atol=1e-15
        )


def test_polynomials_by_einsum(v):
    tensors = random_tensors((1, 2, 3, 4))
    one, two, three, four = (tensor.full() for tensor in tensors)
    target = targets.polynomial(tensors)
    x = np.random.default_rng(5).standard_normal((8, D))
    values = (
        x @ one
        + np.einsum("ij,ni,nj->n", two, x, x)
        + np.einsum("ijk,ni,nj,nk->n", three, x, x, x)
    )
    values += np.einsum("ijkl,ni,nj,nk,nl->n", four, x, x, x, x)
    np.testing.assert_allclose(target.values(x), values, rtol=1e-11)
    gradient = one + 2 * x @ two + 3 * np.einsum("ijk,nj,nk->ni", three, x, x)
    gradient += 4 * np.einsum("ijkl,nj,nk,nl->ni", four, x, x, x)
    np.testing.assert_allclose(target.gradients(x), gradient, rtol=1e-11, atol=1e-11)
    product = 2 * v @ two + 6 * np.einsum("ijk,nj,nk->ni", three, x, v)
    product += 12 * np.einsum("ijkl,nj,nk,nl->ni", four, x, x, v)
    np.testing.assert_allclose(
        target.hessian_vectors(x, v), product, rtol=1e-11, atol=1e-11
    )


def test_the_fifth_power_of_a_sum(v):
    target = targets.polynomial([SymmetricTensor(5, D, np.ones(packed_size(D, 5)))])
    x = np.random.default_rng(8).standard_normal((8, D))
    s = x.sum(axis=1)
    np.testing.assert_allclose(target.values(x), s**5, rtol=1e-11)
    np.testing.assert_allclose(
        target.gradients(x), np.outer(5 * s**4, np.ones(D)), rtol=1e-11
    )
    expected = np.outer(20 * s**3 * v.sum(axis=1), np.ones(D))
    np.testing.assert_allclose(target.hessian_vectors(x, v), expected, rtol=1e-10)


def test_polynomials_of_many_points_are_those_of_each():
    target = targets.polynomial(random_tensors((2, 3)))
    x = np.random.default_rng(0).standard_normal((2500, D))
    np.testing.assert_allclose(
        target.gradients(x)[2400:], target.gradients(x[2400:]), rtol=1e-12
    )


def test_functions_of_jax_and_tensorflow_agree_with_the_polynomial(v):
    jnp = pytest.importorskip("jax.numpy")
    tf = pytest.importorskip("tensorflow")
    square, cube = random_tensors((2, 3))
    two, three = square.full(), cube.full()
    exact = targets.polynomial([square, cube])
    by_jax = targets.from_jax(
        "p",
        lambda x: (
            jnp.einsum("ij,i,j", two, x, x) + jnp.einsum("ijk,i,j,k", three, x, x, x)
        ),
    )
    by_tf = targets.from_tensorflow(
        "p",
        lambda x: (
            tf.einsum("ij,ni,nj->n", two, x, x)
            + tf.einsum("ijk,ni,nj,nk->n", three, x, x, x)
        ),
    )
    x = np.random.default_rng(6).standard_normal((8, D))
    for target in (by_jax, by_tf):
        np.testing.assert_allclose(
            target.evaluate("values", x), exact.values(x), rtol=1e-12
        )
        np.testing.assert_allclose(
            target.evaluate("gradients", x), exact.gradients(x), rtol=1e-11, atol=1e-12
        )
        np.testing.assert_allclose(
            target.evaluate("hessian_vectors", x, v),
            exact.hessian_vectors(x, v),
            rtol=1e-11,
            atol=1e-12,
        )


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: targets.scattering_length_target(minus=[born.born_tensor(2, 4)]),
            r"minus\[0\] = SymmetricTensor",
        ),
        (
            lambda: targets.scattering_length_target(minus=[1.0]),
            r"minus\[0\] = 1.0: must be a scalar SymmetricTensor of order 1",
        ),
        (
            lambda: targets.scattering_length_target(
                minus=[born.born_tensor(1, 4)] * 2
            ),
            r"minus\[1\] = SymmetricTensor.*: must be a scalar SymmetricTensor of order 2",
        ),
        (
            lambda: targets.scattering_length_target(
                minus=[born.born_tensor(1, 4), born.born_tensor(2, 5)]
            ),
            r"minus\[1\]: has dim 5; must have dim 4, as minus\[0\]",
        ),
        (
            lambda: targets.scattering_length_target(
                minus=[born.born_tensor(1, 4), born.born_tensor(2, 3)]
            ),
            r"minus\[1\]: has dim 3; must have dim 4",
        ),
        (
            lambda: targets.polynomial([]),
            r"tensors = \[\]: must be at least one tensor, all of the same dim",
        ),
        (
            lambda: targets.polynomial([1.0]),
            r"tensors\[0\] = 1.0: must be a scalar SymmetricTensor",
        ),
        (lambda: targets.polynomial(3), "tensors = 3: must be a sequence"),
        (
            lambda: targets.polynomial([born.born_tensor(2, 4)]).values(
                np.ones((2, 5))
            ),
            r"x: shape \(2, 5\); the last axis must be 4",
        ),
        (lambda: targets.Target("t", 3), "values = 3: must be callable"),
        (lambda: targets.Target(3, len), "name: int given; must be of type str"),
        (
            lambda: targets.Target("t", lambda U: U[:, 0] + 1j).evaluate(
                "values", np.ones((2, 2))
            ),
            "target 't': values have dtype complex128",
        ),
        (
            lambda: targets.polynomial(
                [born.born_tensor(1, 4), born.born_tensor(1, 5)]
            ),
            "tensors = .*all of the same dim",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(refusal(message), match=f"^{message}"):
        call()


def norms(exponent=4, **without):
    """Return the target |x|^exponent with its derivatives in closed form."""
    p = exponent

    def square(x):
        return (x**2).sum(axis=1, keepdims=True)

    def gradients(x):
        return p * square(x) ** (p / 2 - 1) * x

    def products(x, v):
        along = (x * v).sum(axis=1, keepdims=True)
        return (
            p * square(x) ** (p / 2 - 1) * v
            + p * (p - 2) * square(x) ** (p / 2 - 2) * along * x
        )

    def values(x):
        return square(x)[:, 0] ** (p / 2)

    parts = {"gradients": gradients, "hessian_vectors": products} | without
    return targets.Target("norm", values, **parts)


@pytest.mark.parametrize("with_jet", [False, True])
def test_less_takes_the_polynomial_off_every_derivative(U, v, with_jet):
    whole = norms()
    if with_jet:
        whole = norms(
            jet=lambda x, v: (
                whole.values(x),
                whole.gradients(x),
                whole.hessian_vectors(x, v),
            )
        )
    tensors = random_tensors((1, 2, 3))
    rest, lower = whole.subtract(tensors), targets.polynomial(tensors)
    np.testing.assert_allclose(
        rest.values(U), whole.values(U) - lower.values(U), rtol=1e-13
    )
    check_derivatives(rest, U, v, 1e-6)
    assert (rest.jet is not None) == with_jet
    assert whole.subtract([]) is whole


def test_less_has_the_derivatives_that_the_target_has(U):
    rest = norms(gradients=None, hessian_vectors=None).subtract(random_tensors((1,)))
    assert rest.gradients is rest.hessian_vectors is rest.jet is None
    with pytest.raises(
        ValueError,
        match=r"^target 'norm less orders 1 to 1 \(\w{16}\)': has no gradients$",
    ):
        rest.evaluate("gradients", U)


def test_names_tell_remainders_apart():
    first, other = random_tensors((1, 2)), random_tensors((1, 2), seed=1)
    for target in (norms(), targets.scattering_length_target()):
        names = [
            target.subtract(tensors).name
            for tensors in (first, other, first[:1], [first[0], other[1]])
        ]
        assert len(set(names)) == 4 and all(
            name.startswith(f"{target.name} less orders 1 to ") for name in names
        )
        assert target.subtract(random_tensors((1, 2))).name == names[0]


@pytest.mark.parametrize("rows", [1, 1023, 1024, 1025, 2049])
def test_polynomials_of_any_number_of_points(rows):
    one, two, three = random_tensors((1, 2, 3))
    x, v = np.random.default_rng(rows).standard_normal((2, rows, D))
    values, gradients, products = targets.polynomial([one, two, three]).jet(x, v)
    np.testing.assert_allclose(
        values, sum(t.contract(x) for t in (one, two, three)), rtol=1e-11, atol=1e-12
    )
    gradient = (
        one.full()
        + 2 * x @ two.full()
        + 3 * np.einsum("ijk,nj,nk->ni", three.full(), x, x)
    )
    np.testing.assert_allclose(gradients, gradient, rtol=1e-11, atol=1e-11)
    product = 2 * v @ two.full() + 6 * np.einsum("ijk,nj,nk->ni", three.full(), x, v)
    np.testing.assert_allclose(products, product, rtol=1e-11, atol=1e-11)


def test_without_jax_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(
        ModuleNotFoundError,
        match="^jax: must be installed for from_jax: pip install jax$",
    ):
        targets.from_jax("p", len)


def test_tensors_of_one_order_add_up(U):
    (one, two, three), (a, b, c) = (
        random_tensors((1, 2, 3)),
        random_tensors((1, 2, 3), seed=1),
    )
    both, sums = (
        targets.polynomial([one, a, three, b, two, c]),
        targets.polynomial([one + a, two + b, three + c]),
    )
    for found, expected in zip(both.jet(U, U[::-1]), sums.jet(U, U[::-1]), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "values, message",
    [
        (lambda x: x, r"values have shape \(3, 2\); must be \(3,\)"),
        (
            lambda x: np.where(np.arange(3) > 0, np.inf, 0.0),
            "values of sample 1 are not finite",
        ),
        (lambda x: np.ones(2), r"values have shape \(2,\); must be \(3,\)"),
        (lambda x: ["a"] * 3, "values have dtype <U1; must be real numbers"),
    ],
)
def test_what_a_function_gives_back_is_checked(values, message):
    for target in (
        targets.Target("t", values),
        targets.Target("t", len, jet=lambda x, v: (values(x), x, x)),
    ):
        with pytest.raises(refusal(message), match=f"^target 't': {message}$"):
            target.evaluate_fit("hessian_vectors", np.ones((3, 2)), np.ones((3, 2)))


def test_a_gradient_that_is_not_finite_is_named_by_its_sample():
    gradients = np.where(np.arange(6).reshape(3, 2) == 4, np.nan, 1.0)
    with pytest.raises(
        ValueError, match="^target 't': gradients of sample 2 are not finite$"
    ):
        targets.Target("t", len, lambda x: gradients).evaluate(
            "gradients", np.ones((3, 2))
        )


def test_whole_numbers_are_values():
    values = targets.Target("count", lambda x: np.arange(len(x))).evaluate(
        "values", np.ones((3, 2))
    )
    assert values.dtype == np.float64 and values.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "x, v",
    [
        (np.ones((2, 4)), np.ones((3, 4))),
        (np.ones((3, 4)), np.ones((2, 4))),
        (np.ones(4), np.ones(4)),
        (np.ones((2, 2, 4)),) * 2,
    ],
)
def test_batches_of_a_polynomial_have_two_axes_and_one_shape(x, v):
    with pytest.raises(
        ValueError, match=r"^x: shapes \(.*\), \(.*\); must be \(n, 4\)$"
    ):
        targets.polynomial([born.born_tensor(2, 4)]).hessian_vectors(x, v)


def test_polynomials_beyond_a_double_are_refused():
    huge = np.full((2, 4), 1e200)
    with pytest.raises(
        ValueError,
        match="^x: the result overflows float64; scale the inputs$",
    ):
        targets.polynomial([born.born_tensor(2, 4)]).values(huge)


def test_tensors_must_be_scalar_ones():
    several = SymmetricTensor(1, 3, np.ones((3, 2)))
    for ask, name in (
        (targets.polynomial, "tensors"),
        (targets.scattering_length_target, "minus"),
    ):
        with pytest.raises(
            ValueError,
            match=rf"^{name}\[0\] = .*: must be a scalar SymmetricTensor of order 1",
        ):
            ask([several])


@pytest.mark.parametrize("what", ["values", "gradients", "hessian_vectors", "jet"])
def test_each_part_of_a_target_is_a_function(what):
    with pytest.raises(TypeError, match=f"^{what} = 3: must be callable$"):
        targets.Target("t", **{"values": len, what: 3})
    with pytest.raises(TypeError, match="^values = None: must be callable$"):
        targets.Target("t", None)
    with pytest.raises(TypeError, match="^function = 3: must be callable$"):
        targets.from_tensorflow("t", 3)


def test_a_jet_has_three_parts():
    short = targets.Target("t", len, jet=lambda x, v: (x[:, 0], x))
    message = "^target 't': jet returns 2 results; must be values, gradients, hessian_vectors$"
    with pytest.raises(ValueError, match=message):
        short.evaluate_fit("hessian_vectors", np.ones((3, 2)), np.ones((3, 2)))
    with pytest.raises(ValueError, match=message.replace("2 results", "4 results")):
        long = targets.Target("t", len, jet=lambda x, v: (x[:, 0], x, x, x))
        long.evaluate_fit("third_derivatives", np.ones((3, 2)), np.ones((3, 2)))


@pytest.mark.parametrize("depth", [0.3, 1.0])
def test_third_derivatives_are_as_exact_as_single_precision(depth):
    """JAX differentiates the propagation across the shells three times; the target is a_0 minus two orders."""
    jax = pytest.importorskip("jax")

    def a0(x):  # solves u'' + U u = 0 shell by shell
        u, slope = 0.0, 1.0
        for value in x / D**2:
            k = jax.numpy.sqrt(value)
            c, s = jax.numpy.cos(k), jax.numpy.sin(k) / k
            u, slope = u * c + slope * s, slope * c - u * value * s
        return 1 - u / slope / D

    U, v = (
        depth * (0.1 + np.random.default_rng(3).random((8, D))),
        np.random.default_rng(4).standard_normal((8, D)) / np.sqrt(D),
    )
    exact = [born.born_tensor(n, D) for n in (1, 2)]
    with jax.enable_x64(True):
        third = jax.vmap(
            lambda x, v: jax.jvp(
                lambda y: jax.jvp(jax.grad(a0), (y,), (v,))[1], (x,), (v,)
            )[1]
        )(U, v)
        third = np.asarray(third)
    found = targets.scattering_length_target(exact).evaluate_fit(
        "third_derivatives", U, v, depth=depth
    )[3]
    assert np.abs(found - third).max() < 1e-6 * np.abs(third).max()


def test_a_polynomial_has_no_constant_term():
    with pytest.raises(
        ValueError,
        match=r"^tensors\[1\] = .*: must be a scalar SymmetricTensor of order 1 or higher$",
    ):
        targets.polynomial([*random_tensors((1,), 3), SymmetricTensor(0, 3, [1.0])])


def test_a_target_stays_what_its_name_says():
    with pytest.raises(dataclasses.FrozenInstanceError):
        norms().name = "other"
