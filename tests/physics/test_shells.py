"""Compare the compiled sweep across the shells with the NumPy sweep."""

import numpy as np
import pytest

from paperlib import scattering
from paperlib.physics import shells

KINDS = {"attractive": (0, 1), "repulsive": (-1, 0), "signed": (-1, 1)}

COMPILED = [
    scattering.scattering_length,
    scattering.scattering_length_gradient,
    lambda U: scattering.scattering_length_hvp(U, np.ones_like(U)),
]


@pytest.mark.parametrize("n", [1, 31, 33, 1000])
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_loops_equal_numpy(n, kind, monkeypatch):
    pytest.importorskip("numba", reason="numba is not installed: nothing is compiled")
    random = np.random.default_rng(1)
    deep = random.uniform(*KINDS[kind], size=(n, 64)) * shells.MAX_X * 64**2
    v = random.standard_normal(deep.shape)
    functions = (
        scattering.scattering_length,
        scattering.scattering_length_gradient,
        lambda U: scattering.scattering_length_hvp(U, v),
    )
    for U in (deep, 1e-3 * deep, 1e-9 * deep):
        plain = [function(U) for function in functions]
        with monkeypatch.context() as patch:
            patch.setattr(shells, "_WORTH_COMPILING", 0)
            patch.setattr(shells, "edges", None)  # the NumPy sweep is not available
            compiled = [function(U) for function in functions]
        # Deep potentials near a resonance amplify rounding, so the bound applies to the
        # others only.
        clear, digits = (
            (np.abs(plain[0]) < 3, 1e-9) if U is deep else (np.full(n, True), 1e-12)
        )
        assert clear.mean() > 0.5
        np.testing.assert_allclose(
            compiled[0][clear],
            plain[0][clear],
            rtol=0,
            atol=digits * np.abs(plain[0][clear]).max(),
        )
        for a, b in zip(compiled[1:], plain[1:], strict=True):
            largest = np.abs(b).max(axis=1, keepdims=True)
            assert (np.abs(a - b) <= digits * largest)[clear].all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("function", COMPILED)
def test_compiled_loops_reject_the_same_values_as_numpy(monkeypatch, function, bad):
    pytest.importorskip("numba", reason="numba is not installed: nothing is compiled")
    monkeypatch.setattr(shells, "_WORTH_COMPILING", 0)
    for row, shell in ((0, 0), (37, 3), (39, 7)):
        U = np.full((40, 8), 0.1)
        U[row, shell] = bad
        with pytest.raises(
            ValueError, match=rf"^U\[{row}, {shell}\] = {bad}: must be finite$"
        ):
            function(U)


@pytest.mark.parametrize("depth", [10.0, -10.0, 1e7, -1e7])
@pytest.mark.parametrize("function", COMPILED)
def test_one_deep_potential_in_a_batch_keeps_its_digits(monkeypatch, function, depth):
    """Compute a batch with one deep potential by NumPy.

    The compiled loops are valid only for shallow potentials.
    """
    U = np.random.default_rng(0).uniform(0, 0.5, (40, 8))
    U[17, 2] = depth
    plain = function(U)
    monkeypatch.setattr(shells, "_WORTH_COMPILING", 0)
    np.testing.assert_allclose(
        function(U), plain, rtol=1e-11, atol=1e-13 * np.abs(plain).min()
    )


@pytest.mark.parametrize("depth", [-2e5, -6e5])
@pytest.mark.parametrize("function", COMPILED)
def test_many_thin_shells_that_overflow_together_use_numpy(
    monkeypatch, function, depth
):
    """Compute many shallow shells by NumPy if the solution grows too much.

    Each shell has |U| h^2 below 1/27. But u grows to e^447, whose square overflows
    float64, or to e^775.
    """
    U = np.full((2, 4000), depth)
    plain = function(U)
    monkeypatch.setattr(shells, "_WORTH_COMPILING", 0)
    assert np.isfinite(plain).all() and (plain != 0).any()
    np.testing.assert_array_equal(function(U), plain)


def test_read_only_arrays_are_accepted():
    """Accept read-only arrays, such as arrays from files or from JAX.

    The compiled loops are compiled for read-only arrays.
    """
    U = np.random.default_rng(0).uniform(0, 0.5, (40_000, 16))
    v = U[::-1].copy()
    writable = [
        scattering.scattering_length(U),
        *scattering.scattering_length_jet(U, v),
    ]
    for array in (U, v):
        array.flags.writeable = False
    for one, other in zip(
        writable,
        [scattering.scattering_length(U), *scattering.scattering_length_jet(U, v)],
    ):
        assert np.array_equal(one, other)
