import dataclasses
import warnings
from importlib.util import find_spec
from math import factorial

import numpy as np
import pytest

from paperlib import MLP, Ensemble, born, perturbation, pretrained, targets
from paperlib.learning.perturbation import LearnedSeries
from paperlib.taylor.symmetric import SymmetricTensor
from paperlib.taylor.tensors import derivative_tensor

if find_spec("tensorflow") is None:
    pytest.skip("training needs the [train] extra", allow_module_level=True)

from paperlib.learning.training import TrainingConfig  # noqa: E402

CONFIG = TrainingConfig(
    d=4, hidden=(24, 24), sampling="signed", min_scale=0.0, samples=8192, sample_sets=2, batch=64, steps=1500, warmup=50, validation=256,
    fit="hessian_vectors", learning_rate=1e-2, seeds=(0, 1),
)  # fmt: skip


def random_polynomial(seed):
    random = np.random.default_rng(seed)
    sizes = [born.born_tensor(n, 4).packed.size for n in (1, 2, 3)]
    return [
        SymmetricTensor(n, 4, random.standard_normal(size))
        for n, size in enumerate(sizes, 1)
    ]


@pytest.fixture(scope="module")
def learned():
    tensors = random_polynomial(0)
    return tensors, perturbation.iterative(targets.polynomial(tensors), (CONFIG,) * 3)


def test_a_polynomial_is_recovered_order_by_order(learned):
    tensors, series = learned
    mean, members = perturbation.relative_errors(series, tensors)
    assert (mean < (0.05, 0.03, 0.1)).all(), "seconds of training, so percents"
    assert members.shape == (3, 2)
    # By the triangle inequality, the error of the mean is at most the mean of the
    # members' errors.
    assert (mean <= members.mean(axis=1) * (1 + 1e-9)).all()


@pytest.mark.parametrize("differ, least, most", [(0.0, 1.0, 1.0), (0.2, 0.1, 0.99)])
def test_later_ensembles_correct_the_lower_orders(random_mlp, differ, least, most):
    """The weight of the correction is the agreement s, computed here from the members' coefficients directly."""

    def ensemble(seed):
        bases = [
            random_mlp([4, 6, 1], seed=seed),
            *(random_mlp([4, 6, 1], seed=100 * seed + i) for i in range(3)),
        ]
        mixed = [
            MLP(
                [w + differ * v for w, v in zip(bases[0].weights, other.weights)],
                bases[0].biases,
                "tanh",
            )
            for other in bases[1:]
        ]
        return Ensemble(
            tuple(mixed), (0, 1, 2), np.ones((1, 3)), np.ones((1, 3)), np.ones(1)
        )

    own, later = ensemble(1), ensemble(2)
    found = LearnedSeries((own, later), 2).tensor(1).packed
    first, t = (
        np.array([derivative_tensor(m, 1).packed for m in e.members])
        for e in (own, later)
    )
    share = 1 - t.var(axis=0, ddof=1).sum() / len(t) / (t.mean(axis=0) ** 2).sum()
    np.testing.assert_allclose(
        found,
        first.mean(axis=0) + max(0, share) * t.mean(axis=0),
        rtol=1e-12,
        atol=1e-12,
    )
    assert least <= max(0, share) <= most


def test_shares_that_are_kept_are_read_only(learned):
    with pytest.raises(ValueError, match="read-only"):
        learned[1].shares[:] = 0


def test_one_member_corrects_nothing(learned):
    _, series = learned
    ones = tuple(
        dataclasses.replace(
            e,
            members=e.members[:1],
            seeds=(0,),
            loss=e.loss[:, :1],
            validation=e.validation[:, :1],
        )
        for e in series.ensembles
    )
    gradient = derivative_tensor(ones[0].member(0), 1).packed
    np.testing.assert_array_equal(LearnedSeries(ones, 3).tensor(1).packed, gradient)
    assert np.isinf(LearnedSeries(ones, 3).term_errors(np.ones(4))).all()
    assert np.isinf(LearnedSeries(ones, 3).tensor_error(1))


def test_error_bars_come_from_the_members_of_the_last_ensemble(learned):
    _, series = learned
    U = np.random.default_rng(3).uniform(-1, 1, (5, 4))
    last = series.ensembles[-1]
    terms = [
        [
            derivative_tensor(m, n, np.zeros(4)).contract(U) / factorial(n)
            for n in (1, 2)
        ]
        for m in last.members
    ]
    expected = np.std(terms, axis=0, ddof=1) / np.sqrt(len(last.members))
    np.testing.assert_allclose(
        series.term_errors(U)[:, 1:3], expected.T, rtol=1e-9, atol=1e-15
    )
    gradients = [derivative_tensor(m, 1, np.zeros(4)).packed for m in last.members]
    spread = np.linalg.norm(np.std(gradients, axis=0, ddof=1))
    assert series.tensor_error(1) == pytest.approx(spread / np.sqrt(len(gradients)))


def test_other_tensors_give_other_answers(learned):
    """The result depends on the target: the same calls with another polynomial find the tensors of that one."""
    tensors, series = learned
    others = random_polynomial(1)
    again = perturbation.direct(targets.polynomial(others, name="another"), CONFIG, 2)
    found, _ = perturbation.relative_errors(again, others[:2])
    assert (found < 0.1).all()
    wrong, _ = perturbation.relative_errors(again, tensors[:2])
    assert (wrong > 0.3).all()


def test_shuffled_values_teach_nothing():
    """With shuffled values the learned tensor is small, and zero within three standard errors of samples and seeds."""
    (slope, *_) = random_polynomial(0)
    whole = targets.polynomial(slope)

    def shuffled(U):
        return np.random.default_rng(U[0].view(np.uint64)).permutation(whole.values(U))

    def learned(target, seed):
        config = dataclasses.replace(
            CONFIG,
            fit="values",
            steps=500,
            learning_rate=3e-3,
            sample_seed=seed,
            seeds=(seed,),
        )
        return perturbation.direct(target, config, 1).tensor(1)

    right, nothing = (
        learned(whole, 0),
        [learned(targets.Target("shuffled", shuffled), seed) for seed in range(4)],
    )
    assert (right - slope).norm() < 0.1 * slope.norm()
    found = np.array([tensor.packed for tensor in nothing])
    mean, error = (
        np.linalg.norm(found.mean(axis=0)),
        np.sqrt(found.var(axis=0, ddof=1).sum() / 4),
    )
    assert mean < 0.1 * slope.norm() and mean < 3 * error


def test_the_proxy_is_the_sum_of_its_terms(learned):
    tensors, series = learned
    U = CONFIG.potentials(20, 1)
    terms = series.terms(U)
    assert terms.shape == (20, 4)
    np.testing.assert_allclose(series(U), terms.sum(axis=-1), rtol=1e-14)
    for n in (1, 2, 3):
        expected = series.tensor(n).contract(U)
        np.testing.assert_allclose(
            terms[:, n], expected, atol=1e-12 * np.abs(expected).max()
        )
    np.testing.assert_allclose(terms[:, 0], series.ensembles[-1].mean(np.zeros(4)))
    exact = sum(tensor.contract(U) for tensor in tensors)
    assert np.abs(series(U) - exact).max() < 0.1 * np.abs(exact).max()
    assert series.terms(U[0]).shape == (4,)


def test_exact_lower_orders_may_be_taken_off(tmp_path):
    """Ensemble 2 then learns the second order of the exact remainder, and its training has its own checkpoint."""
    target = targets.scattering_length_target()
    quick = dataclasses.replace(CONFIG, steps=600, seeds=(0,), optimizer="adam")
    exact = [born.born_tensor(n, 4) for n in (1, 2)]
    with_exact = perturbation.iterative(
        target, (quick,) * 2, exact=exact[:1], cache=tmp_path
    )
    learned = perturbation.iterative(target, (quick,) * 2, cache=tmp_path)
    assert len([*tmp_path.iterdir()]) == 3, "the first order is one training"
    assert with_exact.ensembles[0].member(0)([0.1] * 4) == learned.ensembles[0].member(
        0
    )([0.1] * 4)
    assert not np.array_equal(with_exact.tensor(2).packed, learned.tensor(2).packed)
    for series in (with_exact, learned):
        assert (perturbation.relative_errors(series, exact)[0] < (1e-2, 0.1)).all()


def test_direct_reads_all_orders_off_one_ensemble(learned):
    _, series = learned
    one = LearnedSeries(series.ensembles[:1], 3)
    assert one.order == 3
    hessian = np.mean(
        [
            derivative_tensor(m, 2, np.zeros(4)).packed
            for m in series.ensembles[0].members
        ],
        axis=0,
    )
    np.testing.assert_allclose(one.tensor(2).packed, hessian / 2, rtol=1e-13)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda s: s.member_tensor(0, 0), "order = 0: must be an integer from 1 to 3"),
        (lambda s: s.member_tensor(2, 1), "number = 2: must be an integer from 0 to 1"),
        (lambda s: s.tensor(4), "order = 4: must be an integer from 1 to 3"),
        (
            lambda s: s.terms(np.ones(5)),
            r"U: shape \(5,\); the last axis must be 4 long",
        ),
        (lambda s: LearnedSeries((), 1), r"ensembles = \(\): must be one or more"),
        (
            lambda s: perturbation.iterative(targets.scattering_length_target(), ()),
            r"configs = \(\): must be one TrainingConfig for each order",
        ),
        (
            lambda s: perturbation.iterative(
                targets.scattering_length_target(),
                (CONFIG, dataclasses.replace(CONFIG, d=5)),
            ),
            r"configs: have d = \[4, 5\]; must have the same d",
        ),
        (
            lambda s: perturbation.iterative(
                targets.scattering_length_target(),
                (CONFIG,) * 3,
                exact=[born.born_tensor(1, 4)],
            ),
            "exact: has 1 tensors; must have 2 or more, for 3 configs",
        ),
        (
            lambda s: perturbation.iterative(
                targets.scattering_length_target(),
                (CONFIG,) * 2,
                exact=[born.born_tensor(1, 5)],
            ),
            "exact: the tensors have dim 5; must be 4, as d in configs",
        ),
        (
            lambda s: LearnedSeries((*s.ensembles, pretrained.ensemble("box_1")), 4),
            r"ensembles: networks have \[4, 24\] inputs; all must have the same number",
        ),
        (
            lambda s: perturbation.relative_errors(
                s, [born.born_tensor(n, 4) for n in range(1, 5)]
            ),
            "exact: has 4 tensors; must have at most 3, the order of the series",
        ),
        (
            lambda s: perturbation.direct(
                targets.scattering_length_target(), CONFIG, 0
            ),
            "order = 0: must be an integer >= 1",
        ),
    ],
)
def test_bad_input(learned, call, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        call(learned[1])


@pytest.mark.parametrize(
    "kind, smallest, far",
    [("attractive", 0.2, True), ("sparse", 0.0, False), ("signed", 0.2, False)],
)
def test_a_centre_that_is_not_sampled_is_said(kind, smallest, far):
    config = dataclasses.replace(
        CONFIG, sampling=kind, min_scale=smallest, steps=1, warmup=0, samples=64
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        perturbation.direct(targets.scattering_length_target(), config, 1)
    messages = [str(w.message) for w in caught if "expansion point" in str(w.message)]
    assert len(messages) == far
    if far:
        assert (
            "standard deviations from the mean of the sampled potentials "
            "(attractive, min_scale = 0.2)"
        ) in messages[0]


def test_a_target_without_the_derivatives_that_are_fitted():
    values = targets.Target("black box", lambda U: U.sum(axis=1))
    with pytest.raises(ValueError, match="^target 'black box': has no gradients$"):
        perturbation.iterative(values, (CONFIG,) * 2)
