"""Compute full derivative tensors by a simple recursion over layers with Faa di Bruno's formula.

The recursion is slow and serves as the reference of the diagram sum.
"""

import numpy as np

from paperlib.networks.activations import derivatives
from paperlib.taylor.symmetric import index_table


def set_partitions(items):
    """Yield all partitions of a list into blocks."""
    if not items:
        yield []
        return
    first, *rest = items
    for partition in set_partitions(rest):
        yield [[first], *partition]
        for k in range(len(partition)):
            yield [*partition[:k], [first, *partition[k]], *partition[k + 1 :]]


def derivative_tensors(mlp, order, at):
    """Return [value, gradient, Hessian, ..] as full arrays. With several outputs, the output axis comes first."""
    letters = "abcdefghijkl"
    y = [np.asarray(at, dtype=float), np.eye(mlp.dim)] + [
        np.zeros((mlp.dim,) * (n + 1)) for n in range(2, order + 1)
    ]
    for weight, bias, name in zip(mlp.weights[:-1], mlp.biases, mlp.activations):
        z = [np.tensordot(weight, t, axes=1) for t in y]
        phi = derivatives(name, z[0] + bias, order)
        y = [phi[0]]
        for n in range(1, order + 1):
            total = np.zeros((len(weight), *(mlp.dim,) * n))
            for blocks in set_partitions(list(range(n))):
                names = ["z" + "".join(letters[i] for i in block) for block in blocks]
                subscripts = f"z,{','.join(names)}->z{letters[:n]}"
                total += np.einsum(
                    subscripts, phi[len(blocks)], *(z[len(block)] for block in blocks)
                )
            y.append(total)
    out = [np.tensordot(mlp.weights[-1], t, axes=1) for t in y]
    out[0] = out[0] + mlp.biases[-1]
    return out if mlp.outputs > 1 else [t[0] for t in out]


def packed_entries(full, order, dim, outputs=1):
    """Return the packed entries of a full array, and move the output axis from the first to the last place."""
    full = full if outputs == 1 else np.moveaxis(full, 0, -1)
    return full[tuple(index_table(dim, order).T)]
