"""The targets of this companion: the scattering length, and the ground-state energy of a particle in a box."""

from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import ArrayLike

from paperlib._support import checks
from paperlib._support.checks import Floats
from paperlib.learning.targets.target import Target, label, orders_in_turn, polynomial
from paperlib.physics import born, box, scattering
from paperlib.taylor.symmetric import SymmetricTensor

__all__ = ["box_target", "scattering_length_target"]


def scattering_length_target(minus: Sequence[SymmetricTensor] = ()) -> Target:
    r"""The S-wave scattering length, less the first terms of a series.

    .. math:: a_0[U] - \sum_{n=1}^{N} T^{(n)}_{i_1 \dots i_n} U_{i_1} \cdots U_{i_n}

    The values of the remainder are not found as a small difference of large numbers: `born.born_remainder` sums what
    the exact Born series leaves from small numbers, and only B - T is contracted with U. Gradients and products are
    differences, good to about 1e-16 of a_0's own.

    Parameters
    ----------
    minus : sequence of SymmetricTensor
        T of orders 1, 2, .. N: the exact Born tensors, or tensors that were learned.

    Examples
    --------
    >>> import numpy as np
    >>> target = scattering_length_target(minus=[born.born_tensor(1, 8)])
    >>> U = np.full((1, 8), 1e-4)
    >>> bool(np.isclose(target.values(U), born.born_terms(U, 2)[:, 1], rtol=1e-3))
    True
    """
    tensors = orders_in_turn("minus", minus)
    if not tensors:
        return Target(
            "scattering length",
            scattering.scattering_length,
            scattering.scattering_length_gradient,
            scattering.scattering_length_hvp,
            scattering.scattering_length_jet,
            remainder=scattering_length_target,
        )
    left = [born.born_tensor(tensor.order, tensor.dim) - tensor for tensor in tensors]
    lower: Any = polynomial(tensors)  # it has every derivative, where a Target may have none
    correction = polynomial(left)

    def values(U: ArrayLike) -> Floats:
        return born.born_remainder(U, len(tensors)) + correction.values(U)

    def jet(U: ArrayLike, v: ArrayLike) -> tuple[Floats, ...]:
        U, v = checks.real_array("U", U), checks.real_array("v", v)
        (_, *whole), (_, *taken) = scattering.scattering_length_jet(U, v), lower.jet(U, v)
        return values(U), *(ours - theirs for ours, theirs in zip(whole, taken, strict=True))

    return Target(
        f"scattering length less {label(tensors)}",
        values,
        lambda U: scattering.scattering_length_gradient(U) - lower.gradients(U),
        lambda U, v: scattering.scattering_length_hvp(U, v) - lower.hessian_vectors(U, v),
        jet,
    )


def box_target(d: int) -> Target:
    """The ground-state energy of a particle in a box of d points, 2 to 4096, as a target; see `box`.

    Examples
    --------
    >>> import numpy as np
    >>> box_target(3).values(np.zeros((1, 3))).round(4)     # 32 (1 - cos(pi/4))
    array([9.3726])
    """
    d = checks.integer("d", d, minimum=2, limit=box.MOST_POINTS)

    def of_points(function: Callable) -> Callable:
        return lambda V, *v: function(checks.real_array("V", V, last=d), *v)

    functions: list[Callable] = [box.energy, box.energy_gradient, lambda V, v: box.energy_jet(V, v)[2], box.energy_jet]
    return Target(f"box of {d} points", *map(of_points, functions))
