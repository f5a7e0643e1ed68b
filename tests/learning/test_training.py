import dataclasses
from importlib.util import find_spec

import numpy as np
import pytest
from oracles import refusal
from trainings import SMALL, TARGET, same

from paperlib import scattering
from paperlib.learning.targets import Target
from paperlib.learning.training import train_ensemble
from paperlib.networks.mlp import MLP

if find_spec("tensorflow") is None:
    pytest.skip("training needs the [train] extra", allow_module_level=True)


def test_it_learns(trained):
    """The error is far below 1, which is the mean squared error of the best constant."""
    assert trained.loss.shape == trained.validation.shape == (5, 2)
    assert (trained.validation[-1] < 0.05).all()
    assert (trained.loss[-1] < trained.loss[0]).all()
    U = SMALL.potentials(500, 1, 2, 3)
    exact = scattering.scattering_length(U)
    errors = np.mean((trained.predict(U) - exact) ** 2, axis=1) / exact.var()
    np.testing.assert_allclose(errors, trained.validation[-1], rtol=0.5)


def test_the_same_seed_gives_the_same_weights(trained):
    assert same(trained, train_ensemble(SMALL, TARGET))
    other = train_ensemble(dataclasses.replace(SMALL, seeds=(4, 6)), TARGET)
    assert not np.allclose(trained.member(0).weights[0], other.member(0).weights[0])


# Rounding determines SOAP's first eigenvectors of nearly empty directions, and it
# differs between batches of different size. A larger learning rate than this one would
# amplify the difference.
@pytest.mark.parametrize("optimizer", ["adam", "muon", "soap"])
def test_a_member_is_what_it_would_be_alone(optimizer):
    noise = 1e-3
    config = dataclasses.replace(
        SMALL, optimizer=optimizer, steps=128, learning_rate=1e-3
    )
    both = train_ensemble(config, TARGET)
    alone = train_ensemble(dataclasses.replace(config, seeds=(5,)), TARGET)
    np.testing.assert_allclose(alone.loss[:, 0], both.loss[:, 1], rtol=noise)
    assert (np.abs(both.loss[:, 0] / both.loss[:, 1] - 1) > 2 * noise).any(), (
        "members differ by more than that"
    )


def test_streams_of_random_numbers_do_not_overlap():
    """NumPy pads seeds with zeros, so a held-out set could equal the training set of an epoch under another name."""
    from paperlib import training

    held_out = SMALL.potentials(64, training._VALIDATION, SMALL.sample_seed)
    shapes = {tuple(np.round(row / row.max(), 12)) for row in held_out}
    for epoch in range(4):
        rows = SMALL.potentials(
            SMALL.samples, training._SAMPLES, SMALL.sample_seed, epoch
        )
        assert not shapes & {tuple(np.round(row / row.max(), 12)) for row in rows}
    informed = dataclasses.replace(SMALL, fit="hessian_vectors")
    directions = [
        training._drawn(informed, TARGET, 4, stream, n)[0][1]
        for stream, n in (
            (training._VALIDATION, 0),
            (training._SAMPLES, 0),
            (training._SAMPLES, 1),
        )
    ]
    assert len({array[0, 0] for array in directions}) == 3


def test_one_configuration_has_one_fingerprint():
    one = dataclasses.replace(
        SMALL, steps=np.int64(320), min_scale=0, learning_rate=np.float64(1e-2)
    )
    other = dataclasses.replace(SMALL, min_scale=0.0)
    assert (
        one.fingerprint(TARGET)
        == other.fingerprint(TARGET)
        != SMALL.fingerprint(TARGET)
    )


def test_against_plain_keras(trained):
    """Compare with model.fit on the same samples in the same order, from the same initial weights."""
    import keras

    from paperlib import training

    first = training._first_weights(SMALL)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            *(keras.layers.Dense(12, SMALL.activation) for _ in range(2)),
            keras.layers.Dense(1),
        ]
    )
    model.set_weights(
        [array[0] if k % 2 == 0 else array[0, 0] for k, array in enumerate(first)]
    )
    cosine = keras.optimizers.schedules.CosineDecay(
        0.0, 310, warmup_target=1e-2, warmup_steps=10
    )
    model.compile(keras.optimizers.Adam(cosine), "mse")
    held_out = TARGET.values(SMALL.potentials(64, training._VALIDATION, 0))
    losses = []
    for epoch in range(5):
        U = SMALL.potentials(SMALL.samples, training._SAMPLES, 0, epoch)
        order = np.random.default_rng((training._ORDER, 3, epoch)).permutation(
            SMALL.samples
        )
        y = (TARGET.values(U) - held_out.mean()) / held_out.std()
        history = model.fit(U[order], y[order], batch_size=32, shuffle=False, verbose=0)
        losses += history.history["loss"]
    np.testing.assert_allclose(trained.loss[:, 0], losses, rtol=2e-3)
    plain = MLP.from_keras(model)
    np.testing.assert_allclose(
        trained.member(0).weights[1], plain.weights[1], atol=2e-3
    )


def test_converted_networks_predict_what_keras_did(trained):
    """An MLP differs from the trained network by float32 rounding only."""
    import keras

    member = trained.member(1)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            *(keras.layers.Dense(12, SMALL.activation) for _ in range(2)),
            keras.layers.Dense(1),
        ]
    )
    model.set_weights(
        [
            a
            for w, b in zip(member.weights, member.biases, strict=True)
            for a in (w.T, b)
        ]
    )
    U = SMALL.potentials(100, 9)
    np.testing.assert_allclose(
        member(U), model.predict(U, verbose=0)[:, 0], rtol=1e-5, atol=1e-6
    )


def test_a_diverging_member_is_named_and_left_out():
    wild = dataclasses.replace(SMALL, learning_rate=1e30, warmup=0)
    with pytest.raises(
        ValueError, match=r"^learning_rate = 1e\+30: every member diverged"
    ):
        train_ensemble(wild, TARGET)


def test_one_diverged_member_does_not_take_the_others():
    from paperlib import training

    config = dataclasses.replace(SMALL, hidden=(1,))
    weights = [np.ones((2, 6, 1), np.float32), np.zeros((2, 1, 1), np.float32)] + [
        np.ones((2, 1, 1), np.float32),
        np.zeros((2, 1, 1), np.float32),
    ]
    loss = np.array([[1.0, 1.0], [0.5, np.nan]])
    with pytest.warns(UserWarning, match=r"seeds \[5\] diverged"):
        kept = training._to_ensemble(
            config,
            weights,
            [loss, loss, np.ones(2)],
            training._Scales(0.0, 1.0, (1.0,)),
        )
    assert kept.seeds == (3,) and len(kept.members) == 1


QUICK = dataclasses.replace(
    SMALL,
    sampling="signed",
    hidden=(10, 10),
    steps=600,
    samples=6400,
    sample_sets=2,
    seeds=(1, 2),
)


@pytest.mark.parametrize(
    "optimizer, rate", [("soap", 1e-2), ("muon", 1e-2), ("adam", 1e-2)]
)
def test_fitting_derivatives_learns_derivatives(optimizer, rate):
    """The Hessian at U = 0 is learned to within 10 %.

    No sample comes near U = 0, and the Hessian of an untrained network is entirely wrong there.
    """
    from paperlib.physics.born import born_tensor
    from paperlib.taylor.tensors import derivative_tensor

    config = dataclasses.replace(
        QUICK, fit="hessian_vectors", optimizer=optimizer, learning_rate=rate
    )
    ensemble = train_ensemble(config, TARGET)
    exact = 2 * born_tensor(2, 6)
    for member in ensemble.members:
        assert (
            derivative_tensor(member, 2, np.zeros(6)) - exact
        ).norm() < 0.1 * exact.norm()


def test_members_may_have_rates_of_their_own():
    both = train_ensemble(
        dataclasses.replace(SMALL, learning_rate=(1e-2, 1e-3)), TARGET
    )
    alone = train_ensemble(
        dataclasses.replace(SMALL, learning_rate=1e-3, seeds=(5,)), TARGET
    )
    np.testing.assert_allclose(both.loss[:, 1], alone.loss[:, 0], rtol=1e-3)


@pytest.mark.parametrize("fit", ["gradients", "hessian_vectors"])
def test_a_fit_that_the_target_cannot_give_is_refused(fit):
    with pytest.raises(ValueError, match="^target 'plain': has no gradients$"):
        train_ensemble(
            dataclasses.replace(SMALL, fit=fit), Target("plain", TARGET.values)
        )


def test_sets_of_samples_come_round():
    from paperlib import training

    scales = training._Scales(0.0, 1.0, (1.0,))
    draw = training._drawer(
        dataclasses.replace(QUICK, sample_sets=2), TARGET, scales, 10
    )
    first, second, third = (draw(epoch) for epoch in range(3))
    np.testing.assert_array_equal(first[0][0][0], third[0][0][0])
    assert not np.array_equal(first[0][0][0], second[0][0][0])
    assert not np.array_equal(first[1], third[1]), "in another order"
    fresh = training._drawer(
        dataclasses.replace(QUICK, sample_sets=None), TARGET, scales, 10
    )
    assert not np.array_equal(first[0][0][0], fresh(2)[0][0][0])


def test_a_radial_power_only_scales_the_inputs():
    """Compare with a training without the power on the target x -> f(x * profile).

    The chain rule gives its gradients and Hessian-vector products. Both trainings start
    from the same weights and use the same inputs, up to rounding.
    """
    scaled = dataclasses.replace(
        QUICK, radial_power=-1.5, fit="hessian_vectors", steps=100
    )
    plain = dataclasses.replace(scaled, radial_power=0)
    profile = scaled.profile
    composed = Target(
        "composed",
        lambda x: TARGET.values(x * profile),
        lambda x: TARGET.gradients(x * profile) * profile,
        lambda x, v: TARGET.hessian_vectors(x * profile, v * profile) * profile,
    )
    U = scaled.potentials(200, 9)
    np.testing.assert_allclose(U / profile, plain.potentials(200, 9), rtol=1e-14)
    one, other = train_ensemble(scaled, TARGET), train_ensemble(plain, composed)
    difference = one.predict(U) - other.predict(U / profile)
    assert np.abs(difference).max() < 1e-5 * TARGET.values(U).std()
    np.testing.assert_allclose(one.loss, other.loss, rtol=1e-4)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"d": 0}, "d = 0: must be an integer >= 1"),
        ({"steps": 0}, "steps = 0"),
        ({"steps": 1.5}, "steps = 1.5"),
        ({"hidden": ()}, r"hidden = \(\): must be a tuple of integers, at least one"),
        ({"hidden": (4, 0)}, r"hidden\[1\] = 0"),
        ({"seeds": ()}, r"seeds = \(\)"),
        ({"seeds": (1, 1)}, r"seeds = \(1, 1\): must differ"),
        ({"activation": "step"}, "activation = 'step': must be one of"),
        ({"sampling": "odd"}, "sampling = 'odd'"),
        ({"optimizer": "lucky"}, "optimizer = 'lucky'"),
        ({"depth": float("inf")}, "depth = inf"),
        ({"learning_rate": 0}, "learning_rate = 0"),
        ({"min_scale": 2}, "min_scale = 2"),
        ({"radial_power": 5}, "radial_power = 5: must be from -4 to 4"),
        ({"fit": "everything"}, "fit = 'everything'"),
        ({"sample_sets": 0}, "sample_sets = 0"),
        (
            {"learning_rate": (1e-3,)},
            r"learning_rate = \(0.001,\): must be one number, or one for each of 2 seeds",
        ),
        ({"batch": 2049}, "batch = 2049: must be at most samples = 2048"),
        ({"warmup": 321}, "warmup = 321"),
    ],
)
def test_bad_configurations(changes, message):
    with pytest.raises(refusal(message), match=f"^{message}[^\n]*$"):
        dataclasses.replace(SMALL, **changes)


@pytest.mark.parametrize(
    "values, message",
    [
        (lambda U: U, r"values have shape \(64, 6\); must be \(64,\)"),
        (
            lambda U: np.where(np.arange(len(U)) == 3, np.nan, 1.0),
            "values of sample 3 are not finite",
        ),
    ],
)
def test_bad_targets(values, message):
    with pytest.raises(ValueError, match=f"^target 'bad': {message}$"):
        train_ensemble(SMALL, Target("bad", values))
    with pytest.raises(ValueError, match="^target 'bad': has no gradients$"):
        Target("bad", values).evaluate("gradients", np.ones((2, 2)))
