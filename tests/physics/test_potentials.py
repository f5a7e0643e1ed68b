"""Check the shapes, shell averages and units of potentials, and random samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import refusal
from scipy.constants import c, e, hbar, m_n, m_p
from scipy.integrate import quad

from paperlib import potentials, scattering

SEED_12345 = [
    [0.3044890046847384, 0.2582405717688925],
    [0.17733167963501242, 0.15090005535186685],
]
SHAPES = [
    potentials.square_well,
    potentials.gaussian,
    potentials.exponential,
    potentials.yukawa,
    potentials.woods_saxon,
    potentials.poschl_teller,
]


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_scale_with_depth_and_attract(shape):
    U = shape(3.0, 32)
    assert U.shape == (32,) and U.dtype == np.float64
    assert (U >= 0).all() and U.max() > 0
    np.testing.assert_allclose(shape(-6.0, 32), -2 * U, rtol=1e-14)


@given(st.integers(1, 40), st.floats(0.05, 1.0))
def test_shell_averages_keep_the_first_born_term(d, width):
    """Compare -int r^2 U dr before and after the division into shells."""
    U = potentials.discretize(lambda r: np.exp(-r / width), d)
    i = np.arange(1, d + 1)
    after = -(U * (i**2 - i + 1 / 3)).sum() / d**3
    before = -quad(lambda r: r * r * np.exp(-r / width), 0, 1, epsabs=0, epsrel=1e-12)[
        0
    ]
    assert after == pytest.approx(before, rel=1e-10)


def test_discretised_potential_converges_to_the_smooth_one():
    """Compare a_0 of the shells with a_0 from SciPy's ODE solver.

    The difference decreases as the square of the thickness of the shells.
    """
    from scipy.integrate import solve_ivp

    def U(r):
        return 4.0 * np.exp(-((r / 0.4) ** 2))

    end = solve_ivp(
        lambda r, y: [y[1], -U(r) * y[0]], (0, 1), [0.0, 1.0], rtol=1e-12, atol=1e-14
    ).y[:, -1]
    exact = 1 - end[0] / end[1]
    errors = [
        abs(scattering.scattering_length(potentials.gaussian(4.0, d)) - exact)
        for d in (16, 32, 64)
    ]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.05)
    assert errors[2] < 1e-4


@pytest.mark.parametrize("radius", [0.25, 0.33, 0.5, 1.0])
def test_square_well_is_the_discretised_step(radius):
    expected = potentials.discretize(lambda r: 2.0 * (r <= radius), 8)
    np.testing.assert_allclose(
        potentials.square_well(2.0, 8, radius=radius), expected, rtol=1e-6, atol=1e-9
    )


def test_neutron_proton_singlet():
    """Check the 1S0 neutron-proton interaction.

    A Gaussian of 30.93 MeV and 1.82 fm has a_0 near -23.7 fm and r_e near 2.8 fm.
    """
    mega_electron_volt = 1e6 * e / c**2
    mu = m_n * m_p / (m_n + m_p) / mega_electron_volt
    rho = 10.0
    U = potentials.from_physical(
        lambda r: -30.93 * np.exp(-((r / 1.82) ** 2)), mu, rho, 400
    )
    assert rho * scattering.scattering_length(U) == pytest.approx(-23.7, abs=0.2)
    assert rho * scattering.effective_range(U) == pytest.approx(2.8, abs=0.1)
    assert scattering.bound_states(U) == 0


def test_physical_units_against_si():
    """Compare with -2 mu rho^2 V / hbar^2 in SI units, from other constants."""
    volt, mass = -14.0, 469.5
    in_si = -2 * (mass * 1e6 * e / c**2) * (2.5e-15) ** 2 * (volt * 1e6 * e) / hbar**2
    U = potentials.from_physical(lambda r: volt, mass, 2.5, 3)
    np.testing.assert_allclose(U, in_si, rtol=1e-8)


def test_samples_follow_their_distribution():
    U = potentials.sample(20_000, 8, depth=2.0, kind="signed", smallest=0.5, seed=3)
    assert np.abs(U).max() <= 2.0
    # <U> = 0 and <U^2> = depth^2 <s^2> / 3, with s uniform on [1/2, 1]
    assert abs(U.mean()) < 5 * U.std() / np.sqrt(U.size)
    assert (U**2).mean() == pytest.approx(4 * (1 - 0.5**3) / (3 * 0.5) / 3, rel=0.02)
    sparse = potentials.sample(20_000, 8, depth=2.0, kind="sparse", seed=3)
    assert sparse.min() == 0 and (sparse == 0).mean() == pytest.approx(0.5, abs=0.02)
    assert ((sparse == 0).mean(axis=1) > 0.9).mean() > 0.1, (
        "some potentials are nearly empty"
    )
    attractive = potentials.sample(20_000, 8, depth=2.0, seed=3)
    assert attractive.min() >= 0
    assert attractive.mean() == pytest.approx(2.0 * 0.6 / 2, rel=0.02)


def test_samples_are_the_same_everywhere():
    """Compare with stored samples, which every machine and NumPy must draw."""
    U = potentials.sample(2, 2, depth=1.0, seed=12345)
    np.testing.assert_allclose(U, SEED_12345, rtol=1e-14)
    assert (
        potentials.sample(2, 2, depth=1.0, seed=(1, 2))
        != potentials.sample(2, 2, depth=1.0, seed=(2, 1))
    ).all()


def test_a_radial_power_multiplies_each_shell():
    """Compare with samples of power 0, of which the same seed draws the same factors."""
    plain = potentials.sample(50, 8, depth=2.0, kind="sparse", seed=7)
    radii = (np.arange(8) + 0.5) / 8
    for power in (-1.5, -1, 2):
        U = potentials.sample(
            50, 8, depth=2.0, kind="sparse", radial_power=power, seed=7
        )
        np.testing.assert_allclose(U, plain * radii**power, rtol=1e-14)


def test_families_are_random_lengths_of_depth_one():
    drawn = potentials.families(100, 64, seed=5)
    again, other = (potentials.families(100, 64, seed=seed) for seed in (5, 6))
    assert list(drawn) == list(potentials.shapes(64)) == list(potentials.FAMILIES)
    for name, (function, length, lowest, highest) in potentials.FAMILIES.items():
        U = drawn[name]
        assert U.shape == (100, 64) and len(np.unique(U, axis=0)) > 10
        np.testing.assert_array_equal(U, again[name])
        assert not np.array_equal(U, other[name])
        # every family grows with its length in each shell
        least, most = (function(1.0, 64, **{length: x}) for x in (lowest, highest))
        assert (U >= least).all() and (U <= most).all(), name


def test_shapes_have_depth_one():
    for name, U in potentials.shapes(64).items():
        function, *_ = potentials.FAMILIES[name]
        narrow = {"radius": 0.3} if name == "narrow well" else {}
        np.testing.assert_array_equal(U, function(1.0, 64, **narrow))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: potentials.square_well(1.0, 0), "d = 0: must be an integer >= 1"),
        (
            lambda: potentials.gaussian(float("nan"), 4),
            "depth = nan: must be a finite number",
        ),
        (
            lambda: potentials.gaussian(1.0, 4, width=0),
            "width = 0: must be a finite number > 0",
        ),
        (lambda: potentials.discretize(3.0, 4), "function = 3.0: must be a callable"),
        (
            lambda: potentials.discretize(lambda r: "deep", 4),
            "function: returned 'deep' at r = 1; must return a real number",
        ),
        (
            lambda: potentials.discretize(lambda r: None, 4),
            "function: returned None at r = 1; must return a real number",
        ),
        (
            lambda: potentials.yukawa(1e308, 4, width=1.0),
            "depth = 1e+308, width = 1.0: the average over a shell must be finite",
        ),
        (
            lambda: potentials.discretize(lambda r: r**-3.5, 4),
            "shell 1 of 4 does not converge",
        ),
        (
            lambda: potentials.discretize(lambda r: float("nan"), 4),
            "shell 1 of 4 does not converge",
        ),
        (
            lambda: potentials.from_physical(lambda r: -1.0, -5.0, 1.0, 4),
            "reduced_mass_MeV = -5.0",
        ),
        (lambda: potentials.sample(0, 4, depth=1.0, seed=0), "n = 0"),
        (lambda: potentials.sample(4, 4, depth=0.0, seed=0), "depth = 0.0"),
        (
            lambda: potentials.sample(4, 4, depth=1.0, kind="odd", seed=0),
            "kind = 'odd': must be one of",
        ),
        (lambda: potentials.sample(4, 4, depth=1.0, seed=None), "seed = None"),
        (lambda: potentials.sample(4, 4, depth=1.0, seed=-1), "seed = -1"),
        (
            lambda: potentials.sample(4, 4, depth=1.0, smallest=1.5, seed=0),
            "smallest = 1.5",
        ),
        (
            lambda: potentials.sample(4, 4, depth=1.0, radial_power=5, seed=0),
            "radial_power = 5: must be from -4 to 4",
        ),
        (lambda: potentials.families(0, 4, seed=0), "n = 0: must be an integer >= 1"),
        (lambda: potentials.families(4, 4, seed=None), "seed = None"),
        (lambda: potentials.shapes(0), "d = 0: must be an integer >= 1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(refusal(message), match="^[^\n]*$") as error:
        call()
    assert message in str(error.value)


def test_a_failing_potential_is_named_with_its_error():
    with pytest.raises(
        TypeError,
        match=r"^function: raised TypeError\(.*\) at r = 1; must return a real",
    ):
        potentials.discretize(lambda r: r + "a", 4)
