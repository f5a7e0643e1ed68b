"""Training steps, against Keras and against this machine's own matrix products: `pytest tests/benchmarks/test_training.py`.

Networks 64-64-64-64-64-1 (four hidden layers), batch 512, single precision, compiled by XLA. One round is an epoch of
128 steps. Ratios mean something within one run on a quiet machine only.
"""

import numpy as np
import pytest

from paperlib import training
from paperlib._support import tensorflow as _tensorflow
from paperlib.learning import compiled_training
from paperlib.learning.targets import Target

STEPS = 128
RANDOM = np.random.default_rng(0)
# The networks of every row, Keras' own as well.
NETWORK: dict = {"hidden": (64, 64, 64, 64), "activation": "gelu"}
# Nothing is learned here, so the target costs nothing.
TARGET = Target("noise", lambda U: U[:, 0], lambda U: U, lambda U, v: v)


def epoch(members, fit, optimizer):
    """A compiled epoch and its arguments."""
    tf, _ = _tensorflow.load()
    config = training.TrainingConfig(
        **NETWORK,
        samples=65_536,
        batch=512,
        fit=fit,
        optimizer=optimizer,
        seeds=tuple(range(members)),
        sample_sets=1,
    )
    scales = training._Scales(0.0, 1.0, (1.0,) * (1 + training.FITS.index(fit)))
    (inputs, fitted), order = training._drawer(config, TARGET, scales, STEPS)(0)
    program = compiled_training.program(config)
    program.begin(config, training._first_weights(config))
    arguments = tf.nest.map_structure(
        tf.convert_to_tensor, (inputs, fitted, order, STEPS)
    )
    return lambda: program.run(*arguments, tf.constant(scales.weights)).numpy()


@pytest.mark.parametrize("optimizer", ["adam", "soap", "muon"])
@pytest.mark.parametrize("fit", training.FITS)
@pytest.mark.parametrize("members", [1, 8])
def test_epoch(benchmark, members, fit, optimizer):
    benchmark.group = f"128 steps, {members} member{'s' * (members > 1)}"
    run = epoch(members, fit, optimizer)
    benchmark.pedantic(run, rounds=5, warmup_rounds=2)


def test_keras_fit(benchmark):
    """What its users would otherwise run: one network, values, the same number of steps."""
    _, keras = _tensorflow.load()
    benchmark.group = "128 steps, 1 member"
    layers = [
        keras.layers.Dense(width, NETWORK["activation"]) for width in NETWORK["hidden"]
    ]
    model = keras.Sequential([keras.Input((64,)), *layers, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(3e-3), "mse", jit_compile=True)
    x = RANDOM.random((STEPS * 512, 64)).astype(np.float32)
    y = x[:, 0].copy()
    benchmark.pedantic(
        lambda: model.fit(x, y, batch_size=512, verbose=0), rounds=5, warmup_rounds=2
    )


def test_drawing_an_epoch_of_scattering_lengths(benchmark):
    """The samples of one epoch with all their derivatives: drawn while the epoch before is trained on."""
    from paperlib.learning.targets import scattering_length_target

    benchmark.group = "data"
    config = training.TrainingConfig(
        samples=65_536, batch=512, fit="hessian_vectors", seeds=tuple(range(8))
    )
    draw = training._drawer(
        config,
        scattering_length_target(),
        training._Scales(0.0, 1.0, (1.0, 1.0, 1.0)),
        STEPS,
    )
    benchmark.pedantic(lambda: draw(0), rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("members", [1, 8])
@pytest.mark.parametrize("fit", ["values", "hessian_vectors"])
def test_epoch_while_the_next_samples_are_drawn(benchmark, members, fit):
    """As `train_ensemble` does it; against `test_epoch` with SOAP, whose samples are there already."""
    from concurrent.futures import ThreadPoolExecutor

    from paperlib.learning.targets import scattering_length_target

    benchmark.group = f"128 steps, {members} member{'s' * (members > 1)}"
    config = training.TrainingConfig(
        **NETWORK, samples=65_536, batch=512, fit=fit, seeds=tuple(range(members))
    )
    scales = training._Scales(0.0, 1.0, (1.0,) * (1 + training.FITS.index(fit)))
    draw = training._drawer(config, scattering_length_target(), scales, STEPS)
    run = epoch(members, fit, "soap")
    with ThreadPoolExecutor(1) as pool:

        def both():
            upcoming = pool.submit(draw, 0)
            run()
            upcoming.result()

        benchmark.pedantic(both, rounds=5, warmup_rounds=1)


def test_matrix_products_as_xla_does_them(benchmark):
    """The floating-point operations of one Hessian-vector step of eight members, as bare products of its shapes.

    Per member: four layers of (1024, 64) x (64, 64) forward and back, three times over for the weights' gradient: 24.
    """
    tf, _ = _tensorflow.load()
    benchmark.group = (
        "float32 matrix products, as many FLOPs as one Hessian-vector step of 8 members"
    )
    a = tf.constant(RANDOM.standard_normal((8, 1024, 64)).astype(np.float32))
    b = tf.constant(RANDOM.standard_normal((8, 64, 64)).astype(np.float32) / 8)

    @tf.function(jit_compile=True)
    def chain(a, b):
        return tf.while_loop(lambda k, _: k < 24, lambda k, y: (k + 1, y @ b), (0, a))[
            1
        ]

    benchmark.pedantic(lambda: chain(a, b).numpy(), rounds=30, warmup_rounds=3)


def test_matrix_product_rate(benchmark):
    """What XLA gives at best here: 2 x 2048^3 FLOPs in single precision."""
    tf, _ = _tensorflow.load()
    benchmark.group = "2 x 2048^3 FLOPs, float32"
    a = tf.constant(RANDOM.standard_normal((2048, 2048)).astype(np.float32))
    product = tf.function(lambda a: a @ a, jit_compile=True)
    benchmark.pedantic(lambda: product(a).numpy(), rounds=10, warmup_rounds=2)
