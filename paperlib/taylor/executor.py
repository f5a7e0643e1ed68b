"""Execute a program with NumPy: the reference for the compiled loop (`interpreter`), and the method where that is not available."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from paperlib._support.validation import Floats
from paperlib.networks.mlp import MLP, activation_derivatives
from paperlib.taylor.program import ONWARD, Program, Request, programs

RUN = 8  # the entries of a run of dot products, which do not matter here


def bytes_each(mlp: MLP, request: Request) -> int:
    """Bytes that one centre takes in `execute`, beside the result."""
    written = programs(request, RUN, mlp.depth)
    return 16 * sum(each.rows * len(bias) for each, bias in zip(written, mlp.biases))


def _play(rows: dict[int, Any], products: np.ndarray) -> None:
    for out, left, right, first, weight in products.tolist():
        term = (
            rows[left] * rows[right]
            if weight == 1
            else weight * rows[left] * rows[right]
        )
        rows[out] = term if first else rows[out] + term


def execute(
    mlp: MLP, request: Request, letters: Sequence[Floats], at: Floats
) -> tuple[Floats, Floats]:
    """Return the derivatives and the gradients of a request.

    `at` holds centres (n, dim), `letters` the first layer's slopes along each direction, (1 or n, units). The
    results have shapes (outputs, n, indices) and (outputs, gradients, n, dim), and may be not finite.
    """
    layers: list[tuple[Program, dict[int, Any]]] = []
    received: dict[int, Any] = {}
    written = programs(request, RUN, mlp.depth)
    for number, (each, phi, weight) in enumerate(
        zip(written, activation_derivatives(mlp, at, written[0].order), mlp.weights)
    ):
        rows = dict(enumerate(phi))
        rows |= {each.order + 1 + n: row @ weight.T for n, row in received.items()}
        rows |= dict(zip(each.letters, letters)) if number == 0 else {}
        # those that the way down needs
        layers = ([] if each.forward_only else layers) + [(each, dict(rows))]
        _play(rows, each.up)
        received = {row - ONWARD: value for row, value in rows.items() if row > ONWARD}
    found = [_down(mlp, layers, output, len(at)) for output in range(mlp.outputs)]
    values, gradients = zip(*found)
    return np.stack(values), np.stack(gradients)


def _down(
    mlp: MLP, layers: list[tuple[Program, dict[int, Any]]], output: int, centres: int
) -> tuple[Floats, Floats]:
    """Carry the adjoint of one output down; return its derivatives and gradients."""
    first = layers[0][0]
    values, gradients = (
        np.zeros((centres, first.entries)),
        np.zeros((len(first.gradients), centres, mlp.dim)),
    )
    adjoint: dict[int, Any] = {0: mlp.weights[-1][None, output]}
    for (each, own), weight in zip(reversed(layers), reversed(mlp.weights[:-1])):
        rows = own | {each.kept + n: row for n, row in adjoint.items()}
        _play(rows, each.down)
        for entry, left, right, count, times in each.dots.tolist():
            for n in range(count):
                values[:, entry + n] += times * (rows[left] * rows[right + n]).sum(
                    axis=-1
                )
        adjoint = {
            row - ONWARD: value @ weight for row, value in rows.items() if row >= ONWARD
        }
    for gradient, place in zip(gradients, first.gradients):
        if place in adjoint:
            gradient[:] = adjoint[place]
    return values, gradients
