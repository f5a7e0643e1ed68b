"""Test that every public function returns the right result or names the bad argument.

`TABLE` has a row for each public function, with a call and valid arguments. A test
replaces one argument at a time by the same numbers in another container, by numbers at
the limits of float64, or by an invalid object. With `HYPOTHESIS_PROFILE=long` there are
a hundred times more examples.
"""

import inspect
import linecache
import re
import signal
import tempfile
import traceback
import warnings
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import paperlib
from paperlib import (
    activations,
    born,
    box,
    diagrams,
    perturbation,
    potentials,
    pretrained,
    reproduction,
    scattering,
    sweep,
    symmetric,
    targets,
    taylor,
)
from paperlib._support import files
from paperlib.learning.ensemble import Ensemble
from paperlib.learning.targets.target import orders_in_turn
from paperlib.learning.training import TrainingConfig, train_ensemble
from paperlib.networks.mlp import MLP
from paperlib.taylor.symmetric import SymmetricTensor

EXAMPLES = max(1, settings.default.max_examples // 20)
# seconds after which a call counts as hanging; the slowest call takes a few
PATIENCE = 60
FOLDER = Path(tempfile.mkdtemp(prefix="paperlib-"))
HOME = str(Path(paperlib.__file__).parent)
NETWORK = MLP(
    [[[0.5, -1.0, 0.25], [2.0, 0.0, 1.0]], [[1.0, 1.5]]], [[0.1, 0.2], [0.5]], "tanh"
)
ENSEMBLE = Ensemble(
    (NETWORK, NETWORK), (0, 1), np.ones((1, 2)), np.ones((1, 2)), np.ones(1)
)
SERIES = perturbation.LearnedSeries((ENSEMBLE,), 2)
CONFIG = TrainingConfig(
    d=3,
    hidden=(4,),
    sampling="signed",
    samples=8,
    batch=8,
    steps=1,
    warmup=0,
    validation=8,
    seeds=(0,),
)
TENSORS = (
    SymmetricTensor(1, 3, [1.0, 2.0, 3.0]),
    SymmetricTensor(2, 3, np.arange(6.0)),
)
TARGET = targets.polynomial(list(TENSORS))
GOOD_U = np.random.default_rng(1).uniform(-1, 2, (2, 3))

# Modules that have tests of their own: they draw, wait for a user, or need Keras.
OTHER_TESTS = {"explorer", "figures", "soap"}
# Functions that only store their arguments, that draw, that train for minutes, or that
# need a cluster or a checkout.
OUT = {
    "activations.Custom", "activations.Scaled", "activations.spelled", "diagrams.Diagram.draw",
    "perturbation.compare_direct_iterative", "pretrained.train_again", "pretrained.ship", "reproduction.Case", "reproduction.Claim", "reproduction.ControlError", "reproduction.Criterion", "reproduction.Table",
    "reproduction.Verdict", "reproduction.errors_by_order", "reproduction.measure_seed_variation", "reproduction.provenance",
    "reproduction.run_notebook", "reproduction.write_report", "sweep.sweep", "symmetric.SymmetricTensor.__getitem__",
    "symmetric.packed_position", "targets.from_tensorflow",
}  # fmt: skip
# Functions that are not public and check their arguments.
INTERNAL = {
    "files.read_json", "files.read_npz", "files.write_json", "files.write_npz", "targets.orders_in_turn", "taylor.Compiled.__call__",
}  # fmt: skip


class Row:
    """Hold the call of a function and its valid arguments.

    The arguments are constants or strategies of Hypothesis.
    """

    def __init__(
        self, call, infinite=False, undefined=False, words=(), operator=False, **good
    ):
        self.operator = operator
        self.call, self.infinite, self.undefined, self.words = (
            call,
            infinite,
            undefined,
            (*words, *good),
        )
        self.good = {
            k: v if isinstance(v, st.SearchStrategy) else st.just(v)
            for k, v in good.items()
        }


arrays = st.tuples(
    st.integers(0, 99), st.sampled_from([(3,), (1, 3), (2, 3), (2, 2, 3)])
).map(
    # exact in half precision too
    lambda drawn: np.random.default_rng(drawn[0]).integers(-64, 128, drawn[1]) / 64
)
one = st.integers(0, 99).map(
    lambda seed: np.random.default_rng(seed).integers(-64, 128, 3) / 64
)
small = st.integers(1, 4)
depths, lengths = st.sampled_from([0.5, 1.0, 3.0]), st.sampled_from([0.1, 0.4, 1.0])
shape = partial(Row, depth=depths, d=small)
stored = FOLDER / "network.npz"
NETWORK.save(stored)
ENSEMBLE.save(FOLDER / "ensemble.npz")
files.write_json(FOLDER / "a.json", {"a": 1})
files.write_json(FOLDER / "grid.json", {"grid": {"d": [4]}})
RECORD = {
    "notebook": "01_a",
    "retrained": False,
    "numbers": {"x": {"value": 1.0, "meaning": "m"}},
    "figures": {},
}
files.write_json(FOLDER / "results" / "numbers" / "01_a.json", RECORD)
NOTEBOOK = {
    "cells": [],
    "metadata": {
        "kernelspec": {"name": "python3", "language": "python", "display_name": "p"}
    },
}
CLAIM = {
    "id": "C1",
    "text": "t",
    "notebook": "01_a",
    "cases": [
        {
            "protocol": "p",
            "criteria": {"x": {"below": 2.0, "reason": "r", "controls": ["c"]}},
        }
    ],
}
files.write_json(FOLDER / "claimed" / "claims.json", {"paper": "p", "claims": [CLAIM]})
files.write_json(
    FOLDER / "notebooks" / "01_a.ipynb", NOTEBOOK | {"nbformat": 4, "nbformat_minor": 5}
)

TABLE = {
    "activations.derivatives": Row(
        activations.derivatives, words=["activation"], name=st.sampled_from(["tanh", "gelu", "elu(0.5)", "sigmoid"]), z=one, order=small
    ),
    "activations.groups": Row(activations.groups, words=["activation"], name="tanh*2 + linear*1"),
    "activations.parse": Row(activations.parse, words=["activation"], name="tanh"),
    "activations.scaled": Row(activations.scaled, words=["activation"], name="celu(2)"),
    "born.born_approximation": Row(born.born_approximation, U=arrays, order=small),
    "born.born_radius": Row(born.born_radius, U=arrays, infinite=True),
    "born.born_remainder": Row(born.born_remainder, U=arrays, order=small),
    "born.born_tensor": Row(born.born_tensor, order=small, d=small),
    "born.born_terms": Row(born.born_terms, U=arrays, order=small),
    "born.pade": Row(born.pade, U=arrays, m=small, n=small, infinite=True),
    "born.pade_of_terms": Row(born.pade_of_terms, terms=arrays, m=1, n=st.integers(0, 2), infinite=True),
    "born.weinberg_eigenvalues": Row(born.weinberg_eigenvalues, U=arrays),
    "targets.box_target": Row(lambda d, V: targets.box_target(d).values(V), d=3, V=GOOD_U),
    "box.energy": Row(box.energy, V=GOOD_U),
    "box.energy_gradient": Row(box.energy_gradient, V=GOOD_U),
    "box.energy_jet": Row(box.energy_jet, V=GOOD_U, v=GOOD_U),
    "box.box_tensor": Row(box.box_tensor, order=st.integers(1, 3), d=st.integers(2, 4)),
    "diagrams.Diagram": Row(diagrams.Diagram, tree=((), ())),
    "diagrams.Diagram.evaluate": Row(diagrams.enumerate_diagrams(3)[0].evaluate, mlp=NETWORK, at=arrays),
    "diagrams.Diagram.rule": Row(diagrams.enumerate_diagrams(3)[0].rule),
    "diagrams.enumerate_diagrams": Row(diagrams.enumerate_diagrams, order=small),
    "diagrams.shares": Row(diagrams.shares, undefined=True, mlp=NETWORK, order=small, at=one),
    "ensemble.Ensemble": Row(
        Ensemble,
        members=(NETWORK,), seeds=(0,), loss=np.ones((1, 1)), validation=np.ones((1, 1)), seconds=np.ones(1),
    ),  # fmt: skip
    "ensemble.Ensemble.load": Row(Ensemble.load, path=FOLDER / "ensemble.npz"),
    "ensemble.Ensemble.mean": Row(ENSEMBLE.mean, x=arrays),
    "ensemble.Ensemble.member": Row(ENSEMBLE.member, number=0),
    "ensemble.Ensemble.predict": Row(ENSEMBLE.predict, x=arrays),
    "ensemble.Ensemble.save": Row(ENSEMBLE.save, path=FOLDER / "saved.npz"),
    "ensemble.Ensemble.std": Row(ENSEMBLE.std, x=arrays),
    "files.read_json": Row(files.read_json, path=FOLDER / "a.json"),
    "files.read_npz": Row(files.read_npz, words=["array"], path=stored, names=("format",)),
    "files.write_json": Row(files.write_json, path=FOLDER / "b.json", content={"a": [1, 2.0, None]}),
    "files.write_npz": Row(lambda path, a: files.write_npz(path, a=a), path=FOLDER / "b.npz", a=arrays),
    "mlp.MLP": Row(
        lambda weights, biases, activation: MLP(weights, biases, activation)([0.5, 1.0, -1.0]),
        weights=list(NETWORK.weights), biases=list(NETWORK.biases), activation="tanh",
    ),  # fmt: skip
    "mlp.MLP.__call__": Row(NETWORK, x=arrays),
    "mlp.MLP.from_keras": Row(MLP.from_keras, model=None),
    "mlp.MLP.from_onnx": Row(MLP.from_onnx, model=None),
    "mlp.MLP.from_sklearn": Row(MLP.from_sklearn, model=None),
    "mlp.MLP.from_torch": Row(MLP.from_torch, module=None),
    "mlp.MLP.load": Row(MLP.load, path=stored),
    "mlp.MLP.save": Row(NETWORK.save, path=FOLDER / "saved.npz"),
    "perturbation.LearnedSeries": Row(perturbation.LearnedSeries, ensembles=(ENSEMBLE,), order=2),
    "perturbation.LearnedSeries.__call__": Row(SERIES, U=arrays),
    "perturbation.LearnedSeries.member_tensor": Row(SERIES.member_tensor, number=st.integers(0, 1), order=1),
    "perturbation.LearnedSeries.tensor": Row(SERIES.tensor, order=st.integers(1, 2)),
    "perturbation.LearnedSeries.tensor_error": Row(SERIES.tensor_error, order=st.integers(1, 2)),
    "perturbation.LearnedSeries.term_errors": Row(SERIES.term_errors, U=arrays),
    "perturbation.LearnedSeries.terms": Row(SERIES.terms, U=arrays),
    "perturbation.direct": Row(perturbation.direct, target=TARGET, config=CONFIG, order=2, cache=None, words=["array"]),
    "perturbation.iterative": Row(
        perturbation.iterative, target=TARGET, configs=(CONFIG, CONFIG), exact=TENSORS, cache=None
    ),
    "perturbation.relative_errors": Row(perturbation.relative_errors, series=SERIES, exact=TENSORS),
    "potentials.discretize": Row(potentials.discretize, function=lambda r: 1 / r, d=small),
    "potentials.exponential": shape(potentials.exponential, width=lengths),
    "potentials.families": Row(potentials.families, n=small, d=small, seed=small),
    "potentials.from_physical": Row(
        potentials.from_physical, function_MeV=lambda r: -14.0 * r, reduced_mass_MeV=469.0, range_fm=2.5, d=small
    ),
    "potentials.gaussian": shape(potentials.gaussian, width=lengths),
    "potentials.poschl_teller": shape(potentials.poschl_teller, width=lengths),
    "potentials.sample": Row(
        potentials.sample,
        n=small, d=small, depth=depths, kind=st.sampled_from(potentials.SAMPLE_KINDS), smallest=0.5, radial_power=-1.0, seed=small,
    ),  # fmt: skip
    "potentials.shapes": Row(potentials.shapes, d=small),
    "potentials.square_well": shape(potentials.square_well, radius=lengths),
    "potentials.woods_saxon": shape(potentials.woods_saxon, radius=lengths, diffuseness=lengths),
    "potentials.yukawa": shape(potentials.yukawa, width=lengths),
    "pretrained.sha256": Row(pretrained.sha256, name="box", folder=None),
    "pretrained.ensemble": Row(pretrained.ensemble, name="box_1", folder=None),
    "pretrained.table": Row(pretrained.table, name="optimizers", folder=None),
    "pretrained.series": Row(pretrained.series, name="box", folder=None),
    "pretrained.load_or_train": Row(pretrained.load_or_train, name="box_1", train=None, folder=None),
    "reproduction.read_claims": Row(reproduction.read_claims, folder=FOLDER / "claimed"),
    "reproduction.decide": Row(
        reproduction.decide, notebook="01_a", numbers={"x": reproduction.Number(1.0, "m")}, folder=FOLDER / "claimed"
    ),
    "reproduction.write_claims": Row(reproduction.write_claims, folder=FOLDER / "claimed", readme=None),
    "reproduction.compare": Row(
        reproduction.compare, results=FOLDER / "results", stored=FOLDER / "results", only=("01_a",)
    ),
    "reproduction.compare_networks": Row(reproduction.compare_networks, results=FOLDER / "results"),
    "reproduction.store": Row(
        reproduction.store, results=FOLDER / "results", stored=FOLDER / "stored", only=None
    ),
    "reproduction.Number": Row(
        reproduction.Number,
        value=1.0, meaning="m", rtol=1e-6, atol=0.0, at_most=2.0, at_least=None,
    ),  # fmt: skip
    "reproduction.read_record": Row(
        reproduction.read_record, path=FOLDER / "results" / "numbers" / "01_a.json"
    ),
    "reproduction.record": Row(
        reproduction.record,
        notebook="02_b", folder=FOLDER / "made", numbers={"x": reproduction.Number(1.0, "m")}, figures={}, networks=["box"], retrained=False,
    ),  # fmt: skip
    "reproduction.guarded_numbers": Row(reproduction.guarded_numbers, folder=FOLDER / "results"),
    "reproduction.read_seed_variation": Row(reproduction.read_seed_variation, folder=FOLDER / "results"),
    "reproduction.notebook_parameters": Row(
        reproduction.notebook_parameters, path=FOLDER / "notebooks" / "01_a.ipynb"
    ),
    "reproduction.notebooks": Row(reproduction.notebooks, folder=FOLDER / "notebooks", only="01"),
    "reproduction.reproduce": Row(
        partial(reproduction.reproduce, FOLDER / "none", log=lambda line: None),
        build=FOLDER / "build", profile="quick", only="01",
    ),  # fmt: skip
    "scattering.bound_states": Row(scattering.bound_states, U=arrays),
    "scattering.effective_range": Row(scattering.effective_range, U=arrays, infinite=True),
    "scattering.scattering_length": Row(scattering.scattering_length, U=arrays, infinite=True),
    "scattering.scattering_length_gradient": Row(scattering.scattering_length_gradient, U=arrays, infinite=True),
    "scattering.scattering_length_hvp": Row(
        scattering.scattering_length_hvp, U=GOOD_U, v=GOOD_U[::-1].copy(), infinite=True
    ),
    "scattering.scattering_length_jet": Row(
        scattering.scattering_length_jet, U=GOOD_U, v=GOOD_U[::-1].copy(), infinite=True
    ),
    "scattering.wave_function": Row(scattering.wave_function, U=one, points_per_shell=small, infinite=True),
    "sweep.Point": Row(sweep.Point, config=CONFIG, protocol="direct", orders=small),
    "sweep.read_grid": Row(sweep.read_grid, path=FOLDER / "grid.json"),
    "symmetric.SymmetricTensor": Row(
        lambda order, dim, packed: SymmetricTensor(order, dim, packed).norm(), order=2, dim=3, packed=np.arange(6.0)
    ),
    "symmetric.SymmetricTensor.__add__": Row(lambda other: TENSORS[0] + other, operator=True, other=TENSORS[0]),
    "symmetric.SymmetricTensor.__mul__": Row(lambda factor: TENSORS[0] * factor, operator=True, factor=2.0),
    "symmetric.SymmetricTensor.__sub__": Row(lambda other: TENSORS[0] - other, operator=True, other=TENSORS[0]),
    "symmetric.SymmetricTensor.__truediv__": Row(lambda factor: TENSORS[0] / factor, operator=True, factor=2.0),
    "symmetric.SymmetricTensor.contract": Row(TENSORS[1].contract, x=arrays),
    "symmetric.SymmetricTensor.full": Row(TENSORS[1].full),
    "symmetric.SymmetricTensor.norm": Row(TENSORS[1].norm),
    "symmetric.index_table": Row(symmetric.index_table, dim=small, order=small),
    "symmetric.multiplicities": Row(symmetric.multiplicities, dim=small, order=small),
    "symmetric.packed_size": Row(symmetric.packed_size, dim=small, order=small),
    "symmetric.tail_starts": Row(symmetric.tail_starts, dim=small, order=small),
    "targets.Target": Row(
        targets.Target,
        name="t", values=TARGET.values, gradients=TARGET.gradients, hessian_vectors=None, jet=None,
    ),  # fmt: skip
    "targets.Target.subtract": Row(TARGET.subtract, tensors=list(TENSORS)),
    "targets.Target.evaluate": Row(
        call=lambda what, x: TARGET.evaluate(what, x), words=["target"], what=st.sampled_from(["values", "gradients"]), x=GOOD_U
    ),
    "targets.Target.evaluate_fit": Row(
        TARGET.evaluate_fit, words=["target", "x"], fit=st.sampled_from(targets.target.FITS), U=GOOD_U, v=GOOD_U[::-1].copy(), depth=depths,
    ),
    "targets.from_jax": Row(lambda name, function: targets.from_jax(name, function), name="t", function=lambda x: x[0]),
    "targets.orders_in_turn": Row(partial(orders_in_turn, "tensors"), tensors=TENSORS),
    "targets.polynomial": Row(
        lambda tensors, name, x: targets.polynomial(tensors, name).jet(x, x), tensors=TENSORS, name="p", x=GOOD_U
    ),
    "targets.scattering_length_target": Row(
        call=lambda minus, U: targets.scattering_length_target(minus).jet(U, U), words=["v", "x"], minus=TENSORS, U=GOOD_U, infinite=True
    ),
    "taylor.TaylorExpansion": Row(taylor.TaylorExpansion, mlp=NETWORK, order=2, at=np.zeros(3)),
    "taylor.TaylorExpansion.__call__": Row(taylor.taylor_expand(NETWORK, 3), x=arrays),
    "taylor.TaylorExpansion.tensor": Row(taylor.taylor_expand(NETWORK, 3).tensor, n=st.integers(0, 3)),
    "taylor.TaylorExpansion.terms": Row(taylor.taylor_expand(NETWORK, 3).terms, x=arrays),
    "taylor.derivative_tensor": Row(taylor.derivative_tensor, mlp=NETWORK, order=st.integers(0, 5), at=arrays),
    "taylor.directional_derivatives": Row(
        taylor.directional_derivatives, mlp=NETWORK, order=st.integers(0, 5), directions=arrays, at=one
    ),
    "taylor.propagator": Row(
        taylor.propagator, mlp=NETWORK, at=arrays, to_layer=st.integers(1, 2), from_layer=st.integers(0, 1)
    ),
    "taylor.taylor_expand": Row(taylor.taylor_expand, mlp=NETWORK, order=st.integers(0, 5), at=arrays),
    "taylor.bilaplacian": Row(taylor.bilaplacian, mlp=NETWORK, at=arrays),
    "taylor.hvp": Row(taylor.hvp, mlp=NETWORK, v=one, at=arrays),
    "taylor.laplacian": Row(taylor.laplacian, mlp=NETWORK, at=arrays, metric=one),
    "taylor.mixed_derivative": Row(taylor.mixed_derivative, mlp=NETWORK, directions=[[1.0, 0.0, 2.0], [0.5, 1.0, 0.0]], at=arrays),
    "taylor.partial_derivatives": Row(taylor.partial_derivatives, mlp=NETWORK, indices=[(0, 1), (2, 2, 1)], at=arrays),
    "taylor.compile": Row(taylor.compile, mlp=NETWORK, request=st.integers(0, 5), metric=None),
    "taylor.Compiled.__call__": Row(taylor.compile(NETWORK, 2), at=arrays),
    "taylor.vertices": Row(taylor.vertices, mlp=NETWORK, at=arrays, legs=small),
    "training.TrainingConfig": Row(
        TrainingConfig, **{name: getattr(CONFIG, name) for name in TrainingConfig.__dataclass_fields__}
    ),
    "training.TrainingConfig.from_json": Row(TrainingConfig.from_json, words=["d"], name="config.json", content={"d": 4}),
    "training.TrainingConfig.fingerprint": Row(CONFIG.fingerprint, target=TARGET),
    "training.TrainingConfig.written": Row(CONFIG.written, target=TARGET),
    "training.TrainingConfig.potentials": Row(lambda n, seed: CONFIG.potentials(n, seed), n=small, seed=small),
    "training.train_ensemble": Row(train_ensemble, config=CONFIG, target=TARGET, cache=None),
}  # fmt: skip


def public():
    """Yield the names of all public functions, classes and methods as `module.Class.method`."""
    for name in set(paperlib.__all__) - OTHER_TESTS:
        module = getattr(paperlib, name)
        for each in (
            getattr(module, "__all__", ()) if isinstance(module, ModuleType) else ()
        ):
            entry = getattr(module, each)
            if callable(entry):
                yield f"{name}.{each}"
            if inspect.isclass(entry):
                yield from (f"{name}.{each}.{method}" for method in _methods(entry))


def _methods(entry):
    """Return the names of the public methods that a class defines, and of its operators."""
    special = {
        "__call__",
        "__getitem__",
        "__add__",
        "__sub__",
        "__mul__",
        "__truediv__",
    }
    named = [name for name in vars(entry) if name in special or name[0] != "_"]
    return [
        name
        for name in named
        if inspect.isfunction(getattr(entry, name))
        or inspect.ismethod(getattr(entry, name))
    ]


def test_every_public_function_has_a_row():
    assert set(public()) - OUT == set(TABLE) - INTERNAL


class Hostile:
    def __array__(self, *_, **__):
        raise RuntimeError("no\narray")

    def __repr__(self):
        raise RuntimeError("no repr")


JUNK = [
    None, object(), Hostile(), "text", "", "a\nb", b"bytes", [], (), {}, {"a": 1},
    {1, 2}, True, np.True_, 1 + 2j, range(3), float("nan"), float("inf"), -float("inf"),
    -1, 0, 1, 1.0, 1.5, 10**12, 2**31, 2**63, 10**30, -(10**30), 10**400, 10**5000,
    1e308, -1e308, 1e200, 1e154, 1e-160, 5e-324, np.float32(1.5), np.float16(1),
    np.longdouble("1e4000"), np.int8(1), np.array(3), np.array(2.0), np.array([1]),
    np.array([]), np.empty((0, 3)), np.empty((3, 0)), np.ones((9, 9)),
    np.ones((2, 3, 1)), np.array([1.0, np.nan, 0.0]), np.array([np.inf] * 3),
    np.zeros(3), np.full((2, 3), 1e308), np.full(3, -1e308), np.full((2, 3), 1e200),
    np.full(3, 5e-324), np.full((2, 3), 1e-200), np.full(3, -1e-160), np.full(3, 1e5),
    np.full(3, -1e5), np.full(3, (9 * np.pi / 2) ** 2), np.array(["a", "b", "c"]),
    np.array([1j, 2, 3]), np.array([True, False, True]), np.array([object()] * 3),
    np.array([1, 2.0, None]), [[1, 2], [3]], [None], ["a", "b", "c"], [1, 10**30, 2],
    [float("nan")] * 3, [np.ones(3)] * 2, (NETWORK,), [TENSORS[0]], TENSORS, NETWORK,
    ENSEMBLE, TENSORS[1], CONFIG, TARGET, np.dtype("f8"), np.timedelta64(1, "s"),
    np.array([1, 2, 3], "m8[s]"), np.zeros(3, [("a", float)]), lambda *a, **k: None,
    len, Path("nowhere/at/all"), Path(), "nowhere\0at all", "x" * 5000, "tanh(1)",
    "elu(nan)", "celu(-1)", "leaky_relu(1e400)",
    np.longdouble("1e4000") * np.ones(3, np.longdouble),
]  # fmt: skip

RECAST = {
    "list": lambda a: a.tolist(),
    "tuple": lambda a: (
        tuple(map(tuple, a.tolist())) if a.ndim == 2 else tuple(a.tolist())
    ),
    "Fortran": np.asfortranarray,
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "reversed": lambda a: a[..., ::-1].copy()[..., ::-1],
    "read-only": lambda a: np.frombuffer(a.tobytes()).reshape(a.shape),
    "big-endian": lambda a: a.astype(">f8"),
    "unaligned": lambda a: (
        np.frombuffer(b"x" + a.tobytes(), np.uint8)[1:]
        .view(np.float64)
        .reshape(a.shape)
    ),
    **{
        t: (lambda t: lambda a: a.astype(t))(t)
        for t in ("f2", "f4", "g", "i1", "i8", "u2", ">i4")
    },
    "broadcast": lambda a: np.broadcast_to(a[..., :1], a.shape),
    "subclass": lambda a: a.view(np.recarray),
}
SCALES = [
    1e308,
    1e200,
    1e154,
    1e60,
    1e8,
    1e4,
    1e-8,
    1e-100,
    1e-154,
    1e-200,
    1e-300,
    1e-307,
    0.0,
    -1.0,
    -1e4,
    -1e300,
]


def corrupted(good):
    """Return a strategy for a replacement of the valid argument `good`.

    The strategy yields (argument, equivalent), where `equivalent` is the same argument
    as a plain array, or None if the result cannot be compared.
    """
    junk = st.sampled_from(JUNK).map(lambda value: (value, None))
    if isinstance(good, np.ndarray):
        whole = (
            st.sampled_from(sorted(RECAST))
            .map(lambda name: RECAST[name](good))
            .map(lambda a: (a, _plain(a)))
        )
        scaled = st.sampled_from(SCALES).map(lambda scale: (_scaled(good, scale), None))
        poison = st.tuples(
            st.integers(0, good.size - 1),
            st.sampled_from([np.nan, np.inf, -np.inf, *SCALES]),
        )
        cut = st.sampled_from(
            [
                good[..., :-1],
                good[None],
                good[..., None],
                good[..., :0],
                good[:0],
                good.T,
            ]
        )
        return st.one_of(
            junk,
            whole,
            scaled,
            poison.map(lambda p: (_poisoned(good, *p), None)),
            cut.map(lambda a: (a, None)),
        )
    return junk


def _plain(array):
    return np.array(array, dtype=np.float64, order="C")


def _scaled(array, scale):
    with np.errstate(all="ignore"):
        return array * scale


def _poisoned(array, where, value):
    copy = np.array(array, dtype=float)
    copy.flat[where] = value
    return copy


def numbers(answer):
    """Return all floating-point numbers of a result in one flat array."""
    if isinstance(answer, SymmetricTensor):
        return np.ravel(answer.packed)
    if isinstance(answer, (tuple, list)):
        return np.concatenate([np.zeros(0), *map(numbers, answer)])
    if (
        isinstance(answer, (np.ndarray, np.generic, float))
        and np.asarray(answer).dtype.kind == "f"
    ):
        return np.ravel(np.asarray(answer, dtype=float))
    return np.zeros(0)


def outcome(row, arguments, changed):
    """Return the result of a call, or None if it raised a valid error.

    A valid error names the argument `changed` in one line.
    Any other error, a warning, an unexpected NaN or infinity, and a call that hangs fail the test.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for documented in (
            "the expansion point U = 0 is",
            "the trained bits depend on this machine",
        ):
            warnings.filterwarnings("ignore", documented, UserWarning)
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.alarm(PATIENCE)
        try:
            answer = row.call(**arguments)
        except (ValueError, TypeError) as error:
            # The message of Python or NumPy for `tensor + None`
            if row.operator and isinstance(error, TypeError):
                return None
            last = traceback.extract_tb(error.__traceback__)[-1]
            assert last.filename.startswith(HOME) and "raise" in linecache.getline(
                last.filename, last.lineno
            ), error
            assert "\n" not in str(error) and len(str(error)) < 1000, error
            words = "|".join(map(re.escape, row.words))
            told = isinstance(arguments.get(changed), (str, Path)) and str(
                arguments[changed]
            ) in str(error)
            assert told or re.search(rf"\b({words})\b", str(error)), (
                f"{error} does not name {changed}"
            )
            return None
        except OSError as error:
            assert "\n" not in str(error), error
            return None
        finally:
            signal.alarm(0)
    found = numbers(answer)
    assert row.undefined or not np.isnan(found).any(), "a silent NaN"
    assert row.infinite or row.undefined or np.isfinite(found).all(), (
        "a silent infinity"
    )
    return answer


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch):
    monkeypatch.chdir(FOLDER)


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row.good])
@given(data=st.data())
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
def test_bad_arguments_are_accepted_or_rejected_in_one_line(name, data):
    pytest.importorskip(
        {"mlp.MLP.from_torch": "torch", "mlp.MLP.from_onnx": "onnx"}.get(name, "numpy")
    )
    row = TABLE[name]
    arguments = {
        argument: data.draw(strategy) for argument, strategy in row.good.items()
    }
    changed = data.draw(st.sampled_from(sorted(arguments)), label="changed")
    value, plain = data.draw(corrupted(arguments[changed]), label="value")
    answer = outcome(row, arguments | {changed: value}, changed)
    if plain is not None and answer is not None:
        expected = numbers(row.call(**arguments | {changed: plain}))
        scale = np.abs(expected).max(initial=0.0)
        np.testing.assert_allclose(
            numbers(answer),
            expected,
            rtol=1e-9,
            atol=1e-12 * scale if np.isfinite(scale) else 0,
        )


@pytest.mark.parametrize(
    "name", [name for name, row in TABLE.items() if not name.startswith("mlp.MLP.from")]
)
@given(data=st.data())
@settings(max_examples=1, suppress_health_check=list(HealthCheck))
def test_good_arguments_are_accepted(name, data):
    row = TABLE[name]
    arguments = {
        argument: data.draw(strategy) for argument, strategy in row.good.items()
    }
    if "reproduce" in name and name.endswith("reproduce"):
        return  # it needs a checkout
    outcome(row, arguments, next(iter(arguments), None))
