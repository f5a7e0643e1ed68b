"""Test that the verdicts on the claims turn if the learned tensors are wrong.

Numbers that decide a claim are computed from pretrained networks, as in the notebooks,
and from the same tensors after damage on purpose.
"""

import ast
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest

from paperlib import (
    LearnedSeries,
    SymmetricTensor,
    born,
    potentials,
    pretrained,
    reproduction,
    scattering,
)
from paperlib.companion.reproduction.claims import decided_by
from paperlib.companion.reproduction.records import Number, read_record

FIGURES = Path(__file__).parents[2] / "figures"
EXACT = [born.born_tensor(n, 64) for n in (1, 2, 3)]
SHAPES = list(potentials.shapes(64).values())


@pytest.fixture(scope="module")
def tensors():
    """Return tensors of orders 1 to 3 of the derivative-informed networks."""
    return list(LearnedSeries((pretrained.ensemble("signed"),), 3).tensors)


def errors(tensors):
    pairs = zip(tensors, EXACT, strict=True)
    return [(T - B).norm() / B.norm() for T, B in pairs]


def learned_orders(tensors):
    return int(np.argmax([*(np.array(errors(tensors)) > 0.1), True]))


def low_orders_over_born(tensors):
    U = potentials.sample(300, 64, depth=2.4, smallest=0.02, seed=(6, 2020))
    U = U[1 / born.born_radius(U) < 0.1]
    worst = []
    for series in (tensors, EXACT):
        sums = np.cumsum([T.contract(U) for T in series], axis=0)
        worst.append(np.abs(sums / scattering.scattering_length(U) - 1).max(axis=1))
    return (worst[0] / worst[1]).max()


def worst_family(tensors):
    exact = sum(B.contract(SHAPES) for B in EXACT[:2])
    learned = sum(T.contract(SHAPES) for T in tensors[:2])
    a0 = scattering.scattering_length(SHAPES)
    return np.abs((learned - exact) / (exact - a0)).max()


def without_second_order(tensors):
    return [tensors[0], tensors[1] * 0, tensors[2]]


def with_reversed_shells(tensors):
    reversed_tensors = []
    for tensor in tensors:
        grid = np.indices((64,) * tensor.order).reshape(tensor.order, -1)
        packed = grid[:, (np.diff(grid, axis=0) >= 0).all(axis=0)]
        entries = tensor.full()[tuple(63 - packed)]
        reversed_tensors.append(SymmetricTensor(tensor.order, 64, entries))
    return reversed_tensors


def of_dense_networks(tensors):
    return list(LearnedSeries((pretrained.ensemble("dense"),), 3).tensors)


def passed(identifier, name, value):
    """Return whether a criterion of a claim is passed by this value."""
    [claim] = [c for c in reproduction.read_claims(FIGURES) if c.id == identifier]
    numbers = read_record(FIGURES / "numbers" / f"{claim.notebook}.json").numbers
    decided = decided_by(claim, numbers | {name: Number(value, "a learned number")})
    [criterion] = [c for case in decided.cases for c in case.criteria if c.name == name]
    return criterion.passed


@pytest.mark.parametrize(
    "claim, name, compute, damages",
    [
        (
            "C3",
            "orders_learned_soap_derivatives",
            learned_orders,
            [without_second_order, with_reversed_shells],
        ),
        (
            "C4",
            "low_orders_over_born_derivatives",
            low_orders_over_born,
            [without_second_order, with_reversed_shells, of_dense_networks],
        ),
        (
            "C5",
            "soap_first_error",
            lambda tensors: errors(tensors)[0],
            [with_reversed_shells],
        ),
        (
            "C6",
            "soap_two_second_error",
            lambda tensors: errors(tensors)[1],
            [without_second_order, with_reversed_shells],
        ),
        (
            "C7",
            "soap_second_born_worst_family",
            worst_family,
            [without_second_order, with_reversed_shells],
        ),
    ],
)
def test_damaged_tensors_turn_the_verdict(tensors, claim, name, compute, damages):
    assert passed(claim, name, float(compute(tensors)))
    for damage in damages:
        assert not passed(claim, name, float(compute(damage(tensors)))), damage


def test_a_learned_second_order_refutes_c5(tensors):
    assert passed("C5", "adam_second_error", errors(without_second_order(tensors))[1])
    assert not passed("C5", "adam_second_error", errors(tensors)[1])


def test_every_claim_is_decided():
    for claim in reproduction.read_claims(FIGURES):
        assert claim.verdict != "not yet shown", claim.id


def test_the_rates_of_the_two_iterations_are_those_that_notebook_06_chooses():
    path = FIGURES.parent / "notebooks" / "07_iterative_perturbation_theory.ipynb"
    sources = [cell.source for cell in nbformat.read(path, 4).cells]
    [line] = re.findall(r"^rates = (\{.*\})$", "\n".join(sources), re.MULTILINE)
    chosen = pretrained.table("one_training")["rates"][:, 2:4]  # 6,000, 12,000 steps
    assert np.array(list(ast.literal_eval(line).values())) == pytest.approx(chosen)
