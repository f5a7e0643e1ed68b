"""Execute a program with NumPy.

This is the reference for the compiled loop (`compiled.interpreter`), and the method
where that loop is not available.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from paperlib._support.validation import Floats
from paperlib.networks.mlp import MLP, activation_derivatives
from paperlib.taylor.program import ONWARD, Program, Request, programs

RUN = 8  # the largest number of dot products in a record; any number would do here
Rows: TypeAlias = dict[int, Floats]  # a layer's rows by number, each (1 or n, units)


def bytes_each(mlp: MLP, request: Request) -> int:
    """Return the bytes that one centre takes in `execute`, besides the result."""
    layers = programs(request, RUN, mlp.depth)
    return 16 * sum(layer.rows * len(bias) for layer, bias in zip(layers, mlp.biases))


def _execute_products(rows: Rows, products: np.ndarray) -> None:
    """Add the products to `rows`."""
    for out, left, right, first, weight in products.tolist():
        factor = rows[left] if weight == 1 else weight * rows[left]
        term = factor * rows[right]
        rows[out] = term if first else rows[out] + term


def execute(
    mlp: MLP, request: Request, slopes: Sequence[Floats], at: Floats
) -> tuple[Floats, Floats]:
    """Return the derivatives and the gradients of a request; they may be not finite.

    Parameters
    ----------
    mlp : MLP
        A network with at least one hidden layer.
    request : Derivatives or Laplacian
        The requested derivatives.
    slopes : sequence of ndarray of float64, each of shape (1 or n, units)
        The derivative of the first layer's z along each direction.
    at : ndarray of float64, shape (n, dim)
        The centres.

    Returns
    -------
    values : ndarray of float64, shape (outputs, n, entries)
        The derivatives.
    gradients : ndarray of float64, shape (outputs, gradients, n, dim)
        The gradients.
    """
    layers: list[tuple[Program, Rows]] = []
    written = programs(request, RUN, mlp.depth)
    order = written[0].order
    z_rows = dict(zip(written[0].direction_rows, slopes))
    phis = activation_derivatives(mlp, at, order)
    for program, phi, weights in zip(written, phis, mlp.weights[1:]):
        own = dict(enumerate(phi)) | z_rows
        if program.forward_only:  # only the last layer is needed on the way down
            layers.clear()
        layers.append((program, own))
        rows = dict(own)
        _execute_products(rows, program.up)
        z_rows = {
            order + 1 + row - ONWARD: value @ weights.T
            for row, value in rows.items()
            if row > ONWARD
        }
    results = [_down(mlp, layers, output, len(at)) for output in range(mlp.outputs)]
    values, gradients = zip(*results)
    return np.stack(values), np.stack(gradients)


def _down(
    mlp: MLP, layers: list[tuple[Program, Rows]], output: int, centres: int
) -> tuple[Floats, Floats]:
    """Carry the adjoint of one output down; return its derivatives and gradients.

    `layers` holds the programs of the hidden layers and the layers' own rows.
    """
    first = layers[0][0]
    values = np.zeros((centres, first.entries))
    gradients = np.zeros((len(first.gradients), centres, mlp.dim))
    adjoint: Rows = {0: mlp.weights[-1][None, output]}
    for (program, own), weights in zip(reversed(layers), reversed(mlp.weights[:-1])):
        rows = own | {program.own_rows + n: row for n, row in adjoint.items()}
        _execute_products(rows, program.down)
        for entry, left, right, length, weight in program.dots.tolist():
            for n in range(length):
                products = rows[left] * rows[right + n]
                values[:, entry + n] += weight * products.sum(axis=-1)
        adjoint = {
            row - ONWARD: value @ weights
            for row, value in rows.items()
            if row >= ONWARD
        }
    for gradient, place in zip(gradients, first.gradients):
        if place in adjoint:
            gradient[:] = adjoint[place]
    return values, gradients
