"""Execute the programs of a request with NumPy.

A program is a list of products of rows for one hidden layer (see `program`). The tests
compare the compiled loop (`compiled.interpreter`) with this module. `compilation` uses
this module if numba is not installed, if an activation is an `activations.Custom`, or
if the compiled loop meets a number that is not finite.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from paperlib._support.validation import Floats
from paperlib.networks.mlp import MLP, activation_derivatives
from paperlib.taylor.program import ONWARD, Program, Request, programs

# The largest number of dot products in one record. Any number gives correct results.
RUN = 8
# {row number: row} of one layer. A row has shape (n, units) for n centres and the
# number of neurons, or (1, units) if it is the same at all centres.
Rows: TypeAlias = dict[int, Floats]


def bytes_each(mlp: MLP, request: Request) -> int:
    """Estimate the bytes that `execute` needs for each centre, without its results.

    The estimate is 16 bytes for each row and neuron of each hidden layer.
    """
    layers = programs(request, RUN, mlp.depth)
    return 16 * sum(layer.rows * len(bias) for layer, bias in zip(layers, mlp.biases))


def _execute_products(rows: Rows, products: np.ndarray) -> None:
    """Execute products, an array of PRODUCT, and write their sums to `rows`.

    A product adds weight * left * right to row `out`, or sets this row if `first` is 1.
    """
    for out, left, right, first, weight in products.tolist():
        factor = rows[left] if weight == 1 else weight * rows[left]
        term = factor * rows[right]
        rows[out] = term if first else rows[out] + term


def execute(
    mlp: MLP, request: Request, slopes: Sequence[Floats], at: Floats
) -> tuple[Floats, Floats]:
    """Return the derivatives and the gradients of a request at n centres.

    The results are not checked: they may contain NaN or infinity.

    Parameters
    ----------
    mlp : MLP
        A network with at least one hidden layer.
    request : Derivatives or Laplacian
        The requested derivatives.
    slopes : sequence of ndarray of float64, each of shape (1 or n, units)
        The derivative of the first layer's pre-activations along each direction of the
        request. `units` is the number of neurons of the first layer. The first axis has
        length 1 if the direction is the same at all centres.
    at : ndarray of float64, shape (n, dim)
        The centres.

    Returns
    -------
    values : ndarray of float64, shape (outputs, n, entries)
        The derivatives, one entry for each multi-index of `request.indices`, or the
        Laplacian as a single entry.
    gradients : ndarray of float64, shape (outputs, gradients, n, dim)
        The gradients, one for each multi-index of `request.gradients`.

    Raises
    ------
    ValueError
        If a derivative of order 2 or higher is needed and a neuron's pre-activation is
        0 where its activation has a kink.
    """
    layers: list[tuple[Program, Rows]] = []
    written = programs(request, RUN, mlp.depth)
    order = written[0].order
    z_rows = dict(zip(written[0].direction_rows, slopes))
    phis = activation_derivatives(mlp, at, order)
    for program, phi, weights in zip(written, phis, mlp.weights[1:]):
        own = dict(enumerate(phi)) | z_rows
        if program.forward_only:  # the downward pass needs only the last layer's rows
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
    """Run the downward pass for one output, from the last hidden layer to the first.

    Parameters
    ----------
    mlp : MLP
        The network.
    layers : list of (Program, Rows)
        The program and the own rows of each hidden layer. If the programs are
        `forward_only`, the list holds only the last hidden layer.
    output : int
        The number of the output, from 0.
    centres : int
        The number of centres, n.

    Returns
    -------
    values : ndarray of float64, shape (n, entries)
        The derivatives of the output.
    gradients : ndarray of float64, shape (gradients, n, dim)
        The gradients of the output.
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
