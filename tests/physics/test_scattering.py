"""Compare scattering at zero energy with oracles, closed forms and other methods."""

import re
import warnings

import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from paperlib import potentials, scattering
from paperlib.physics import shells

KINDS = {"attractive": (0, 1), "repulsive": (-1, 0), "signed": (-1, 1)}


def draw(d, depth, kind, seed=0):
    return depth * np.random.default_rng((d, seed)).uniform(*KINDS[kind], size=d)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", [1e-8, 1e-3, 1.0, 30.0, 1e3, 1e5, 9e5])
@pytest.mark.parametrize("d", [1, 2, 7, 64, 1000])
def test_scattering_length_against_40_digits(d, depth, kind):
    U = draw(d, depth, kind)
    exact = oracles.scattering_length(U)
    assert oracles.relative_error(scattering.scattering_length(U), exact) < 1e-10


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", [1e-8, 1.0, 1e3, 1e5])
@pytest.mark.parametrize("d", [1, 5, 64])
def test_gradient_and_effective_range_against_40_digits(d, depth, kind):
    U = draw(d, depth, kind)
    gradient = scattering.scattering_length_gradient(U)
    exact = oracles.scattering_length_gradient(U)
    largest = max(abs(g) for g in exact)
    assert (
        max(abs(float((g - e) / largest)) for g, e in zip(gradient, exact, strict=True))
        < 1e-10
    )
    assert (
        oracles.relative_error(
            scattering.effective_range(U), oracles.effective_range(U)
        )
        < 1e-10
    )


def test_square_well_closed_forms():
    for g in (1e-6, 0.5, 2.0, 20.0, 400.0):
        k = np.sqrt(g)
        a = 1 - np.tan(k) / k
        U = np.full(16, g)
        assert scattering.scattering_length(U) == pytest.approx(
            a, rel=1e-12 if g > 1e-3 else 1e-9
        )
        if g > 0.1:
            assert scattering.effective_range(U) == pytest.approx(
                1 - 1 / (g * a) - 1 / (3 * a * a), rel=1e-10
            )
        assert scattering.bound_states(U) == np.floor(k / np.pi + 0.5)


@given(
    arrays(np.float64, st.integers(1, 6), elements=st.floats(-20, 20)),
    st.integers(1, 5),
)
def test_results_do_not_depend_on_dividing_the_shells(U, parts):
    a = scattering.scattering_length(U)
    finer = scattering.scattering_length(np.repeat(U, parts))
    assert np.tan(np.arctan(a) - np.arctan(finer)) == pytest.approx(0, abs=1e-10)
    assert scattering.bound_states(U) == scattering.bound_states(np.repeat(U, parts))


@given(arrays(np.float64, st.integers(1, 4), elements=st.floats(-6 * np.pi, 6 * np.pi)))
def test_half_waves_within_a_shell_are_the_nodes_at_its_parts(phases):
    """Compare the number of nodes in whole shells with that in parts of shells.

    If a shell holds a half-wave or more, its nodes are counted by the phase. In its
    parts they are counted by the signs alone.
    """
    U = np.sign(phases) * (len(phases) * phases) ** 2
    assert scattering.bound_states(U) == scattering.bound_states(np.repeat(U, 24))


@given(arrays(np.float64, 5, elements=st.floats(0, 2)), st.integers(0, 4))
def test_deeper_attracts_more(U, shell):
    """Without bound states, a_0 decreases when one shell becomes deeper.

    The gradient predicts the decrease.
    """
    deeper = U.copy()
    deeper[shell] += 1e-3
    if scattering.bound_states(deeper) == 0:
        change = scattering.scattering_length(deeper) - scattering.scattering_length(U)
        assert change < 0
        middle = (deeper + U) / 2
        assert change == pytest.approx(
            1e-3 * scattering.scattering_length_gradient(middle)[shell], rel=1e-4
        )


@given(arrays(np.float64, 8, elements=st.floats(-40, 200)))
@settings(max_examples=60)
def test_bound_states_are_the_negative_eigenvalues(U):
    """Count the bound states by a second algorithm.

    It is the inertia of the finite-difference Hamiltonian in a large box.
    """
    from scipy.linalg import eigh_tridiagonal

    a = scattering.scattering_length(U)
    if abs(a) > 5 or abs(a) < 1e-3:  # a box cannot resolve a state at threshold
        return
    per_shell, box = 100, 30
    h = 1 / (8 * per_shell)
    potential = np.zeros(box * 8 * per_shell)
    potential[: 8 * per_shell] = np.repeat(U, per_shell)
    diagonal = 2 / h**2 - (potential + np.roll(potential, -1)) / 2
    off = np.full(len(diagonal) - 1, -1 / h**2)
    negative = eigh_tridiagonal(
        diagonal, off, eigvals_only=True, select="v", select_range=(-1e4, 0.0)
    )
    assert scattering.bound_states(U) == len(negative)


@pytest.mark.parametrize("d", [1, 3, 64])
def test_resonance_is_huge_and_silent(d):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for state in range(3):
            exact = ((state + 0.5) * np.pi) ** 2
            around = exact * (1 + np.array([-1e-3, 0.0, 1e-3]))[:, None] * np.ones(d)
            a = scattering.scattering_length(around)
            assert a[0] < -30 and a[2] > 30 and abs(a[1]) > 1e9
            assert not np.isnan(scattering.scattering_length_gradient(around)).any()
            assert scattering.effective_range(around)[1] == pytest.approx(1.0, rel=1e-9)
            np.testing.assert_array_equal(
                scattering.bound_states(around[[0, 2]]), [state, state + 1]
            )


def test_exact_zero_slope_is_a_signed_infinity(monkeypatch):
    """Set the slope to zero, because no float64 depth is exactly on a resonance."""
    real = shells.edges

    def on_resonance(x, order=3):
        solution = real(x, order)
        solution.q[-1] = 0.0
        return solution

    monkeypatch.setattr(shells, "edges", on_resonance)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isinf(scattering.scattering_length(np.full(4, 2.0)))
        assert (scattering.scattering_length_gradient(np.full(4, 2.0)) == -np.inf).all()


def test_hard_core_and_zero_potential():
    assert scattering.scattering_length(np.full(3, -1e12)) == pytest.approx(
        1.0, rel=1e-5
    )
    np.testing.assert_array_equal(scattering.scattering_length(np.zeros((2, 5))), 0.0)
    np.testing.assert_array_equal(scattering.effective_range(np.zeros((2, 5))), np.inf)
    np.testing.assert_array_equal(scattering.bound_states(np.zeros((2, 5))), 0)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (1, 1, 1, 4)])
def test_leading_axes(shape):
    U = np.random.default_rng(0).uniform(-3, 5, size=shape)
    rows = U.reshape(-1, 4)
    for function in (
        scattering.scattering_length,
        scattering.effective_range,
        scattering.bound_states,
    ):
        expected = [function(row) for row in rows]
        np.testing.assert_array_equal(function(U), np.reshape(expected, shape[:-1]))
    gradient = scattering.scattering_length_gradient(U)
    assert gradient.shape == shape
    np.testing.assert_array_equal(
        gradient.reshape(-1, 4),
        [scattering.scattering_length_gradient(r) for r in rows],
    )


def test_strides_and_dtypes():
    U = np.random.default_rng(0).uniform(0, 3, size=(6, 10))
    expected = scattering.scattering_length(U[::2, ::-1].copy())
    np.testing.assert_array_equal(scattering.scattering_length(U[::2, ::-1]), expected)
    np.testing.assert_array_equal(
        scattering.scattering_length([1, 2]), scattering.scattering_length([1.0, 2.0])
    )
    single = U.astype(np.float32)
    np.testing.assert_array_equal(
        scattering.scattering_length(single),
        scattering.scattering_length(single.astype(np.float64)),
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", [1e-6, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("d", [1, 5, 64])
def test_hessian_vectors_are_slopes_of_the_gradient(d, depth, kind):
    """Compare with central differences of the gradient, computed with 40 digits.

    This precision permits a step that is small enough.
    """
    import mpmath

    U = draw(d, depth, kind)
    v = np.random.default_rng(d).standard_normal(d)
    step = mpmath.mpf(10) ** -18 * max(depth, 1)

    def shifted(sign):
        return oracles.scattering_length_gradient(
            [mpmath.mpf(float(a)) + sign * step * float(b) for a, b in zip(U, v)]
        )

    exact = [
        (plus - minus) / (2 * step)
        for plus, minus in zip(shifted(1), shifted(-1), strict=True)
    ]
    largest = max(abs(e) for e in exact)
    product = scattering.scattering_length_hvp(U, v)
    assert (
        max(abs(float((p - e) / largest)) for p, e in zip(product, exact, strict=True))
        < 1e-10
    )


@given(arrays(np.float64, 5, elements=st.floats(-3, 3)))
def test_the_hessian_is_symmetric(U):
    hessian = scattering.scattering_length_hvp(np.tile(U, (5, 1)), np.eye(5))
    np.testing.assert_allclose(
        hessian, hessian.T, rtol=1e-9, atol=1e-12 * np.abs(hessian).max()
    )


def test_hessian_vectors_of_the_wrong_shape():
    for v in (np.ones(3), np.ones((1, 3)), np.ones((3, 3))):
        with pytest.raises(
            ValueError,
            match=rf"^v: shape {re.escape(str(v.shape))}; must be that of U, \(2, 3\)$",
        ):
            scattering.scattering_length_hvp(np.ones((2, 3)), v)


def test_large_batches_equal_the_oracle():
    U = potentials.sample(20_000, 64, depth=2.0, smallest=0.2, seed=5)
    np.testing.assert_allclose(
        scattering.scattering_length(U),
        oracles.scattering_length_by_numpy(U),
        rtol=1e-11,
    )


def test_wave_function_solves_the_equation():
    U = potentials.gaussian(6.0, 12)
    r, u = scattering.wave_function(U, points_per_shell=40)
    assert u[0] == 0 and u[-1] == pytest.approx(
        1 - scattering.scattering_length(U), rel=1e-12
    )
    second = np.diff(u, 2) * (len(r) - 1) ** 2
    inside = np.flatnonzero(np.arange(1, len(r) - 1) % 40)  # away from the jumps of U
    np.testing.assert_allclose(
        second[inside], -(np.repeat(U, 40) * u[1:])[inside], rtol=1e-3, atol=1e-6
    )


DERIVATIVES = [
    scattering.scattering_length,
    scattering.scattering_length_gradient,
    lambda U: scattering.scattering_length_hvp(U, np.ones_like(U)),
]

BAD = {
    "empty": (np.zeros((0, 4)), "is empty"),
    "no shells": (np.zeros((3, 0)), "is empty"),
    "scalar": (1.0, "must be an array"),
    "nan": ([1.0, np.nan], r"U[1] = nan: must be finite"),
    "infinity": ([[1.0, 2.0], [-np.inf, 0.0]], r"U[1, 0] = -inf: must be finite"),
    "complex": ([1.0 + 0j], "dtype complex128; must be real numbers"),
    "object": (
        np.array([1.0, None], dtype=object),
        "dtype object; must be real numbers",
    ),
    "text": (["1.0"], "must be real numbers"),
    "ragged": ([[1.0], [1.0, 2.0]], "rectangular"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize(
    "function",
    [
        scattering.scattering_length,
        scattering.scattering_length_gradient,
        scattering.effective_range,
        scattering.bound_states,
        scattering.wave_function,
    ],
)
def test_bad_input(function, case):
    value, message = BAD[case]
    with pytest.raises(
        TypeError if "real numbers" in message else ValueError, match="^U[^\n]*$"
    ) as error:
        function(value)
    assert message in str(error.value)


def test_too_many_bound_states_are_rejected():
    for depth in (1e6, 1e20, 1e30, (2**52.5 * np.pi) ** 2):
        k = np.sqrt(depth)
        assert scattering.bound_states(np.full(1, depth)) == pytest.approx(
            k / np.pi, abs=2, rel=1e-15
        )
    with pytest.raises(
        ValueError, match=r"^U: has more than 2\^53 bound states, which float64 cannot"
    ):
        scattering.bound_states(np.full((2, 1), [[1.0], [(2**54 * np.pi) ** 2]]))


def test_results_do_not_depend_on_the_block_size(monkeypatch):
    U = np.random.default_rng(0).uniform(-3, 5, (50, 4))
    functions = [*DERIVATIVES, scattering.effective_range, scattering.bound_states]
    expected = [function(U) for function in functions]
    monkeypatch.setattr(scattering, "_BLOCK", 4 * 7)
    for function, whole in zip(functions, expected, strict=True):
        np.testing.assert_array_equal(function(U), whole)


def test_the_jet_is_the_three_functions():
    U, v = np.random.default_rng(0).uniform(-3, 5, (2, 2, 3, 4))
    functions = (scattering.scattering_length, scattering.scattering_length_gradient)
    a0, gradient, product = scattering.scattering_length_jet(U, v)
    for found, function in zip((a0, gradient), functions, strict=True):
        np.testing.assert_allclose(found, function(U), rtol=1e-13)
    step = 1e-5
    slope = (functions[1](U + step * v) - functions[1](U - step * v)) / (2 * step)
    np.testing.assert_allclose(
        product, slope, rtol=1e-6, atol=1e-6 * np.abs(slope).max()
    )
    assert isinstance(scattering.scattering_length_jet(U[0, 0], v[0, 0])[0], float)


def test_extremes_are_silent():
    """Extreme depths in float64 and exact resonances cause no warning.

    They give no NaN except where it is documented.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for depth in (0.0, 5e-324, -5e-324, 1e-300, 1e300, -1e300, 1e308, -1e308):
            U = np.full((2, 3), depth)
            for function in (*DERIVATIVES[:2], scattering.effective_range):
                assert not np.isnan(function(U)).any()
            scattering.wave_function(U[0])
            scattering.scattering_length_jet(U, U)
        resonance = np.full(3, (np.pi / 2) ** 2)
        assert np.isinf(
            scattering.scattering_length_jet(resonance, np.full(3, 1e300))[2]
        ).all()


def test_nodes_on_an_edge_are_counted_once():
    """Count the bound states of wells with a node at the edge of a shell.

    The next shell is free, attractive or repulsive.
    """
    for number in (1, 2, 3):
        inner = (2 * np.pi * number) ** 2  # u = 0 at r = 1/2
        for outer, more in (
            (0.0, 0),
            (1.0, 0),
            (-5.0, 0),
            (0.9 * np.pi**2, 0),
            (1.1 * np.pi**2, 1),
            (50.0, 1),
        ):
            count = scattering.bound_states(
                [[inner * (1 + t), outer] for t in (-1e-9, 0.0, 1e-9)]
            )
            assert (count == number + more).all(), (number, outer)


@pytest.mark.parametrize("depth", [1e4, 4e6, 1e8])
def test_a_wave_that_hardly_enters_is_scaled_at_the_end(depth):
    """Compare with u = sinh(kr) / (k cosh k), which overflows for k of 710 and more."""
    k = np.sqrt(depth)
    r, u = scattering.wave_function(np.full(2, -depth), points_per_shell=64)
    np.testing.assert_allclose(
        u,
        np.exp(k * (r - 1)) * -np.expm1(-2 * k * r) / k / (1 + np.exp(-2 * k)),
        rtol=1e-9,
        atol=1e-300,
    )


@given(
    half_waves=st.lists(st.integers(1, 4), min_size=1, max_size=32),
    seed=st.integers(0, 99),
)
def test_half_waves_that_end_at_the_edges_are_counted(half_waves, seed):
    """Count half-waves that end at the edges of the shells.

    Rounding moves each node to either side of its edge.

    Because u = 0 at r = 1 too, the straight line beyond the range has no further node.
    """
    bits = np.random.default_rng(seed).integers(-3, 4, len(half_waves))
    U = (np.pi * len(half_waves) * np.array(half_waves)) ** 2 * (
        1 + bits * np.finfo(float).eps
    )
    assert scattering.bound_states(U) == sum(half_waves)


def test_points_per_shell():
    U = np.array([1.0, -2.0, 3.0])
    for m in (1, 2, 5):
        r, u = scattering.wave_function(U, points_per_shell=m)
        assert len(r) == len(u) == 3 * m + 1
        np.testing.assert_allclose(r, np.linspace(0, 1, 3 * m + 1), rtol=1e-15)
        np.testing.assert_allclose(
            u[::m], scattering.wave_function(U, points_per_shell=1)[1], rtol=1e-13
        )
    assert len(scattering.wave_function(U)[0]) == 25
    with pytest.raises(
        ValueError, match="^points_per_shell = 0: must be an integer >= 1$"
    ):
        scattering.wave_function(U, 0)
    with pytest.raises(
        ValueError, match=r"^points_per_shell = 10+: needs .* free: use fewer points$"
    ):
        scattering.wave_function(U, 10**15)
    with pytest.raises(
        ValueError, match=r"^U: shape \(1, 3\); must be one potential, shape \(d,\)$"
    ):
        scattering.wave_function(U[None])
