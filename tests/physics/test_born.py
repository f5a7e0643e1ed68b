"""Compare the Born series and Padé approximants with closed forms and oracles."""

import warnings
from itertools import combinations_with_replacement
from math import comb

import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import zeta

from paperlib import born, potentials, scattering


@pytest.mark.parametrize("kind", [(0, 1), (-1, 1)])
@pytest.mark.parametrize("depth", [1e-8, 1.0, 100.0])
@pytest.mark.parametrize("d", [1, 3, 16, 64])
def test_terms_against_40_digits(d, depth, kind):
    U = depth * np.random.default_rng(d).uniform(*kind, size=d)
    terms, exact = born.born_terms(U, 12), oracles.born_terms(U, 12)
    assert max(map(oracles.relative_error, terms, exact)) < 1e-12


def test_terms_of_the_square_well():
    """Compare with the series of 1 - tan(k)/k."""
    g = 0.7
    series = -np.array([g / 3, 2 * g**2 / 15, 17 * g**3 / 315, 62 * g**4 / 2835])
    np.testing.assert_allclose(born.born_terms(np.full(9, g), 4), series, rtol=1e-14)


@pytest.mark.parametrize("d", [1, 4])
def test_terms_of_the_square_well_to_order_200(d):
    """Compare with tan(k)/k as the sum over its poles.

    Beyond order 85 the factorials that enter the terms leave the range of float64.
    """
    n, g = np.arange(1, 201), 2.4
    poles = -2 / np.pi**2 * (g / np.pi**2) ** n * zeta(2 * n + 2, 0.5)
    np.testing.assert_allclose(born.born_terms(np.full(d, g), 200), poles, rtol=1e-11)


@given(
    arrays(np.float64, 6, elements=st.floats(-1, 1)),
    st.floats(0.1, 3),
    st.integers(1, 8),
)
def test_terms_are_homogeneous(U, factor, order):
    np.testing.assert_allclose(
        born.born_terms(factor * U, order),
        born.born_terms(U, order) * factor ** np.arange(1, order + 1),
        rtol=1e-10,
        atol=1e-300,
    )


@given(arrays(np.float64, 6, elements=st.floats(0, 2)), st.integers(1, 6))
def test_remainder_falls_by_the_next_power(U, order):
    """The difference of a_0 and its first n terms is of order n + 1 in the coupling."""
    if born.born_terms(U, order + 1)[-1] == 0 or U.max() < 0.1:
        return
    small = U / U.max() * 0.2
    rest = [
        scattering.scattering_length(t * small)
        - born.born_approximation(t * small, order)
        for t in (1.0, 0.5)
    ]
    if abs(rest[1]) > 1e-13:
        assert np.log2(rest[0] / rest[1]) == pytest.approx(order + 1, abs=0.3)


def test_batches_have_any_leading_shape():
    U = np.random.default_rng(0).uniform(-1, 1, size=(3, 2, 5))
    terms = born.born_terms(U, 4)
    assert terms.shape == (3, 2, 4)
    np.testing.assert_allclose(terms[2, 1], born.born_terms(U[2, 1], 4), rtol=1e-15)
    np.testing.assert_allclose(
        born.born_approximation(U, 4), terms.sum(axis=-1), rtol=1e-15
    )
    eta = born.weinberg_eigenvalues(U)
    assert eta.shape == U.shape
    np.testing.assert_allclose(
        eta[2, 1], born.weinberg_eigenvalues(U[2, 1]), rtol=1e-13
    )
    many = np.random.default_rng(0).uniform(-1, 1, size=(20_000, 5))
    np.testing.assert_allclose(
        born.born_terms(many, 4)[-1], born.born_terms(many[-1], 4), rtol=1e-14
    )


@pytest.mark.parametrize("d", [1, 2, 64])
def test_first_tensor_is_its_closed_form(d):
    i = np.arange(1, d + 1)
    np.testing.assert_allclose(
        born.born_tensor(1, d).packed, -(i**2 - i + 1 / 3) / d**3, rtol=1e-14
    )


def test_second_tensor_by_quadrature():
    """Compare with -int int r min(r, s) s over pairs of shells, summed on a fine grid.

    This method is independent of the maps of the shells.
    """
    d, n = 3, 400
    r = (np.arange(d * n) + 0.5) / (d * n)
    kernel = -np.minimum.outer(r, r) * np.outer(r, r) / (d * n) ** 2
    blocks = kernel.reshape(d, n, d, n).sum(axis=(1, 3))
    np.testing.assert_allclose(born.born_tensor(2, d).full(), blocks, rtol=1e-4)


def test_third_tensor_by_summing_the_chain_on_a_grid():
    """Compare with the symmetrised r_1 min(r_1, r_2) min(r_2, r_3) r_3 on a grid."""
    from itertools import permutations

    d, n = 2, 40
    r = (np.arange(d * n) + 0.5) / (d * n)
    G = np.minimum.outer(r, r)
    chain = -np.einsum("i,ij,jk,k->ijk", r, G, G, r) / (d * n) ** 3
    blocks = chain.reshape(d, n, d, n, d, n).sum(axis=(1, 3, 5))
    symmetric = sum(blocks.transpose(p) for p in permutations(range(3))) / 6
    np.testing.assert_allclose(born.born_tensor(3, d).full(), symmetric, rtol=2e-3)


@pytest.mark.parametrize(
    "order, d", [(1, 64), (2, 64), (3, 64), (4, 20), (5, 8), (6, 5)]
)
def test_tensors_contract_to_terms(order, d):
    U = np.random.default_rng(order).uniform(-1, 1, size=(4, d))
    tensor = born.born_tensor(order, d)
    assert tensor.packed.shape == (comb(d + order - 1, order),)
    scale = np.abs(born.born_terms(np.abs(U), order)[:, -1])
    assert (
        np.abs(tensor.contract(U) - born.born_terms(U, order)[:, -1]) < 1e-13 * scale
    ).all()


def test_tensor_is_symmetric_under_lookup():
    tensor = born.born_tensor(3, 4)
    for i, j, k in combinations_with_replacement(range(4), 3):
        assert tensor[i, j, k] == tensor[k, i, j] == tensor[j, k, i]


@pytest.mark.parametrize("d", [1, 2, 5, 16, 23, 64])
def test_weinberg_eigenvalues_of_the_square_well(d):
    eta = born.weinberg_eigenvalues(np.full(d, 3.0))
    assert eta.shape == (d,)
    assert eta[0] == pytest.approx(3.0 / (np.pi / 2) ** 2, rel=1e-12)
    assert born.born_radius(np.full(d, 3.0)) == pytest.approx(
        np.pi**2 / 4 / 3.0, rel=1e-12
    )
    if d >= 5:
        exact = 3.0 / ((np.arange(3) + 0.5) * np.pi) ** 2
        np.testing.assert_allclose(eta[:3], exact, rtol=1e-12)


@given(arrays(np.float64, 8, elements=st.floats(-5, 5)))
@settings(max_examples=50)
def test_inverse_eigenvalues_are_resonances(U):
    """Check that a_0 has a pole at the coupling 1/eta.

    The number of bound states increases by one at this coupling.
    """
    if np.abs(U).max() < 0.5 or len(set(np.abs(U))) < 8:
        return  # two resonances may coincide
    eta = born.weinberg_eigenvalues(U)
    assert (np.diff(np.abs(eta)) <= 0).all()
    # The second eigenvalue is less accurate if one shell holds all of the potential.
    for value, digits in ((eta[0], 1e-9), (eta[1], 1e-3)):
        couplings = np.array([1 - digits, 1 + digits]) / value
        counts = scattering.bound_states(couplings[:, None] * U)
        assert counts[1] - counts[0] == 1


def test_signed_eigenvalues_are_those_of_the_plain_operator():
    """Compare with the spectrum of G U from a crude collocation.

    The matrix of the collocation is not symmetric and does not use V.
    """
    U = potentials.sample(1, 8, depth=5.0, kind="signed", seed=1)[0]
    n = 60
    r = (np.arange(8 * n) + 0.5) / (8 * n)
    crude = np.linalg.eigvals(np.minimum.outer(r, r) * np.repeat(U, n) / (8 * n))
    crude = crude[np.argsort(-np.abs(crude))][:3]
    assert np.abs(crude.imag).max() < 1e-10
    np.testing.assert_allclose(born.weinberg_eigenvalues(U)[:3], crude.real, rtol=1e-3)


def test_radius_decides_convergence():
    U = potentials.gaussian(1.0, 32)
    radius = born.born_radius(U)
    terms = born.born_terms(U, 60)
    assert terms[-2] / terms[-1] == pytest.approx(radius, rel=1e-9)
    assert born.born_radius(np.zeros(4)) == np.inf


@pytest.mark.parametrize(
    "m, n", [(1, 0), (3, 0), (1, 1), (2, 2), (3, 2), (2, 3), (5, 5)]
)
# A warning of SciPy about the equations that it solves
@pytest.mark.filterwarnings("ignore:An ill-conditioned matrix")
def test_pade_against_scipy(m, n):
    from scipy.interpolate import pade as scipy_pade

    U = np.full(4, 1.3)
    p, q = scipy_pade([0.0, *born.born_terms(U, m + n)], n, m)
    assert born.pade(U, m, n) == pytest.approx(p(1.0) / q(1.0), rel=1e-9)


def test_pade_reaches_past_the_radius_and_a_bound_state():
    for g, digits in ((2.0, 1e-12), (6.0, 1e-10), (20.0, 1e-3)):
        U = np.full(16, g)
        exact = scattering.scattering_length(U)
        assert born.pade(U, 6, 6) == pytest.approx(exact, rel=digits)
        if g > np.pi**2 / 4:
            assert abs(born.born_approximation(U, 12) / exact - 1) > 1
    batch = born.pade(np.full((2, 3, 16), 2.0), 4, 4)
    assert batch.shape == (2, 3)
    assert born.pade(np.zeros(4), 3, 3) == 0


def test_orders_past_the_largest_factorial():
    terms = born.born_terms(np.full(4, 2.0), 120)
    assert terms[-2] / terms[-1] == pytest.approx(np.pi**2 / 8, rel=1e-12)
    with pytest.raises(
        ValueError,
        match=r"^order = 3: the Born term of order 2 overflows float64",
    ):
        born.born_terms(np.full(2, 1e200), 3)


@pytest.mark.parametrize("order", [0, -1, 1.5, "2", True, None])
@pytest.mark.parametrize(
    "call",
    [
        lambda order: born.born_terms(np.ones(4), order),
        lambda order: born.born_approximation(np.ones(4), order),
        lambda order: born.born_tensor(order, 4),
    ],
)
def test_bad_order(call, order):
    with pytest.raises(
        ValueError if type(order) is int else TypeError,
        match=r"^order = [^\n]*: must be an integer >= 1$",
    ):
        call(order)


@pytest.mark.parametrize("U", [[np.nan], [], 1.0, [1j], np.zeros((2, 0))])
@pytest.mark.parametrize(
    "function",
    [
        lambda U: born.born_terms(U, 2),
        born.weinberg_eigenvalues,
        born.born_radius,
        lambda U: born.pade(U, 1, 1),
    ],
)
def test_bad_potentials(function, U):
    with pytest.raises(
        TypeError if np.iscomplexobj(U) else ValueError, match="^U[^\n]*$"
    ):
        function(U)


def test_bad_dimensions():
    with pytest.raises(ValueError, match="^d = 0: must be an integer >= 1$"):
        born.born_tensor(2, 0)
    with pytest.raises(ValueError, match="^m = 0"):
        born.pade(np.ones(2), 0, 1)
    with pytest.raises(ValueError, match="^n = -1"):
        born.pade(np.ones(2), 1, -1)


@pytest.mark.parametrize(
    "terms, message",
    [
        (
            [1.0, 2.0],
            r"terms: shape \(2,\); the last axis must be m \+ n = 3 long or longer",
        ),
        ([1.0, np.nan, 1.0], r"terms[^\n]*"),
    ],
)
def test_bad_series(terms, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        born.pade_of_terms(terms, 2, 1)


@pytest.mark.parametrize("name", ["born_terms", "born_remainder", "born_approximation"])
def test_results_do_not_depend_on_the_block_size(monkeypatch, name):
    U = np.random.default_rng(0).uniform(-1, 1, size=(2, 25, 5))
    expected = getattr(born, name)(U, 4)
    monkeypatch.setattr(born, "_BLOCK", 5 * 7)
    np.testing.assert_array_equal(getattr(born, name)(U, 4), expected)


def test_single_potentials_give_single_numbers():
    U = np.full(5, 0.3)
    for value in (
        born.born_remainder(U, 2),
        born.born_approximation(U, 2),
        born.pade(U, 2, 2),
        born.born_radius(U),
    ):
        assert isinstance(value, float)


def test_potentials_in_a_batch_are_independent():
    U = np.array([[1.0, 2.0, -0.5], [0.0, 0.0, 0.0], [0.3, 0.3, 0.3]])
    for function in (
        lambda U: born.born_terms(U, 4),
        lambda U: born.born_remainder(U, 4),
        born.weinberg_eigenvalues,
        born.born_radius,
        lambda U: born.pade(U, 2, 2),
    ):
        for row, found in zip(U, function(U), strict=True):
            np.testing.assert_allclose(found, function(row), rtol=1e-12, atol=1e-18)


@pytest.mark.parametrize("order", [1, 2, 5])
@pytest.mark.parametrize("d", [1, 3, 8])
def test_the_remainder_of_deeper_potentials(order, d):
    """Compare with the difference of a_0 and its terms, computed with 40 digits.

    For these potentials the difference does not cancel.
    """
    U = np.random.default_rng(d).uniform(-3, 3, d)
    exact = oracles.scattering_length(U) - sum(oracles.born_terms(U, order))
    assert oracles.relative_error(born.born_remainder(U, order), exact) < 1e-12


def test_results_that_overflow_are_rejected_without_a_warning():
    U = np.full(4, 1e160)
    for message, ask in {
        "order = 2: the Born term of order 2": lambda: born.born_terms(U, 2),
        "order = 3: the Born term of order 2": lambda: born.born_approximation(U, 3),
        "U, order": lambda: born.born_remainder(U, 3),
        "U, order: the result is": lambda: born.born_approximation(
            np.full(4, 1.5e154) * [1, 1, 1, -1], 2
        ),
    }.items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                assert np.isfinite(ask()).all() and message.endswith("is")
            except ValueError as error:
                assert str(error).startswith(message)
                assert "overflows float64" in str(error)


@pytest.mark.parametrize(
    "function", [born.born_terms, born.born_remainder, born.born_approximation]
)
def test_terms_need_free_memory(monkeypatch, function):
    U = np.ones((6, 3))
    monkeypatch.setattr("paperlib._support.validation.WORTH_ASKING", 0)
    # One float64 per term
    monkeypatch.setattr("paperlib._support.validation._free_bytes", lambda: 8 * 6 * 4)
    function(U, 4)
    monkeypatch.setattr(
        "paperlib._support.validation._free_bytes", lambda: 8 * 6 * 4 - 1
    )
    with pytest.raises(ValueError, match="^U, order: needs .* take fewer potentials$"):
        function(U, 4)


def test_tensors_and_eigenvalues_need_free_memory():
    with pytest.raises(
        ValueError, match="^order = 12, d = 64: needs .* use born_terms$"
    ):
        born.born_tensor(12, 64)
    with pytest.raises(ValueError, match="^U: d = 20000: needs .* take fewer shells$"):
        born.weinberg_eigenvalues(np.ones(20_000))


def test_the_highest_orders():
    assert born.born_terms([0.5], 1000).shape == (1000,)
    for order, ask in {
        "order = 1001": lambda: born.born_terms([0.5], 1001),
        "order = 21": lambda: born.born_tensor(21, 1),
        "m = 1001": lambda: born.pade([0.5], 1001, 0),
        "n = 501": lambda: born.pade([0.5], 500, 501),
    }.items():
        with pytest.raises(ValueError, match=f"^{order}: must be at most"):
            ask()


@given(st.integers(1, 4), st.integers(0, 4), st.floats(-3, 3), st.integers(0, 99))
def test_pade_reproduces_rational_functions(m, n, exponent, seed):
    """Recover rational functions p/q from their terms, at any scale of the coupling.

    The poles are away from the coupling.
    """
    random = np.random.default_rng(seed)
    scale = 10.0**exponent
    p, q = (
        random.uniform(0.5, 1, m),
        np.atleast_1d(np.poly(-random.uniform(2, 5, n)))[::-1],
    )
    q /= q[0]
    series = np.zeros(m + n + 4)
    for k in range(1, len(series)):
        series[k] = (p[k - 1] if k <= m else 0) - sum(
            q[j] * series[k - j] for j in range(1, min(k, n) + 1)
        )
    powers = scale ** np.arange(1, len(series))
    found = born.pade_of_terms(
        np.stack(
            [series[1:] * powers, np.zeros(len(powers)), -2 * series[1:] * powers]
        ),
        m,
        n,
    )
    exact = p @ powers[:m] / (q @ np.concatenate([[1.0], powers[:n]]))
    np.testing.assert_allclose(found, [exact, 0, -2 * exact], rtol=1e-6)


def test_pade_of_zero_by_zero_is_rejected():
    """The numerator and the denominator both leave the range of float64."""
    with pytest.raises(
        ValueError, match="^terms: the quotient is 0/0; take lower degrees$"
    ):
        born.pade_of_terms([[0.1, 0.1, 0.1], [5e-324, 1e150, 1e150]], 1, 2)


def test_a_remainder_on_a_resonance_is_rejected_without_a_warning(monkeypatch):
    """Set u'(1) to zero, because no float64 depth is exactly on a resonance."""
    real = born._coupling_series

    def on_resonance(x, order, tail):
        w, q = real(x, order, tail)
        q[1:-1], q[-1] = 0.0, -1.0
        return w, q

    monkeypatch.setattr(born, "_coupling_series", on_resonance)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="^U, order: the result overflows float64"):
            born.born_remainder(np.full(4, 2.0), 2)


@pytest.mark.parametrize(
    ("depth", "digits"), [(10.0, 3e-14), (25.0, 5e-13), (60.0, 3e-10)]
)
def test_pade_keeps_its_digits_at_high_degrees(depth, digits):
    """Use degrees at which exact arithmetic gives all digits.

    The potentials are at four, ten and twenty-four times the radius of convergence.
    """
    exact = oracles.scattering_length(np.full(16, depth))
    for degree in (12, 15, 30, 120):
        assert (
            abs(float(born.pade(np.full(16, depth), degree, degree) / exact) - 1)
            < digits
        )


@pytest.mark.parametrize(
    ("degree", "error"), [(3, 1.83e-5), (4, 2.6e-8), (5, 1.49e-11)]
)
def test_pade_has_the_error_of_exact_arithmetic(degree, error):
    exact = oracles.scattering_length(np.full(16, 10.0))
    assert abs(
        float(born.pade(np.full(16, 10.0), degree, degree) / exact) - 1
    ) == pytest.approx(error, rel=5e-3)
