"""Define the targets of this companion: the scattering length, and the ground-state energy of a particle in a box."""

from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import ArrayLike

from paperlib._support import validation
from paperlib._support.validation import Floats
from paperlib.learning.targets.target import Target, label, orders_in_turn, polynomial
from paperlib.physics import born, box, scattering
from paperlib.taylor.symmetric import SymmetricTensor


def scattering_length_target(minus: Sequence[SymmetricTensor] = ()) -> Target:
    r"""Return the S-wave scattering length as a target, minus the first terms of a series.

    Parameters
    ----------
    minus : sequence of SymmetricTensor
        Tensors T of orders 1, 2, .., N to subtract, either the exact Born tensors or
        learned ones.

    Returns
    -------
    Target
        The remainder of a_0 in units of the range, with its gradients and
        Hessian-vector products.

    Raises
    ------
    TypeError
        If an item of `minus` is not a SymmetricTensor.
    ValueError
        If the tensors are not scalar ones of orders 1, 2, .. and of one dimension.

    Notes
    -----
    The target is

    .. math:: a_0[U] - \sum_{n=1}^{N} T^{(n)}_{i_1 \dots i_n} U_{i_1} \cdots U_{i_n}

    The values of the remainder are not computed as a small difference of large numbers.
    `born.born_remainder` computes the remainder of the exact Born series as a sum of
    small numbers, and only B - T is contracted with U. Gradients and Hessian-vector
    products are computed as differences, with an error of about 1e-16 of the
    derivatives of a_0 itself.

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
    # Any, because a Target's derivatives may be None; a polynomial has all of them
    lower: Any = polynomial(tensors)
    correction = polynomial(left)

    def values(U: ArrayLike) -> Floats:
        return born.born_remainder(U, len(tensors)) + correction.values(U)

    def jet(U: ArrayLike, v: ArrayLike) -> tuple[Floats, ...]:
        U, v = validation.real_array("U", U), validation.real_array("v", v)
        (_, *whole), (_, *taken) = (
            scattering.scattering_length_jet(U, v),
            lower.jet(U, v),
        )
        return values(U), *(
            ours - theirs for ours, theirs in zip(whole, taken, strict=True)
        )

    return Target(
        f"scattering length less {label(tensors)}",
        values,
        lambda U: scattering.scattering_length_gradient(U) - lower.gradients(U),
        lambda U, v: (
            scattering.scattering_length_hvp(U, v) - lower.hessian_vectors(U, v)
        ),
        jet,
    )


def box_target(d: int) -> Target:
    """Return the ground-state energy of a particle in a box as a target; see `box`.

    Parameters
    ----------
    d : int
        Number of points of the box, from 2 to 4096.

    Returns
    -------
    Target
        The energy as a function of the potentials V, shape (n, d), with its gradients
        and Hessian-vector products.

    Raises
    ------
    TypeError
        If d is not an integer.
    ValueError
        If d is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> box_target(3).values(np.zeros((1, 3))).round(4)     # 32 (1 - cos(pi/4))
    array([9.3726])
    """
    d = validation.integer("d", d, minimum=2, limit=box.MAX_POINTS)

    def of_points(function: Callable) -> Callable:
        return lambda V, *v: function(validation.real_array("V", V, last=d), *v)

    functions: list[Callable] = [
        box.energy,
        box.energy_gradient,
        lambda V, v: box.energy_jet(V, v)[2],
        box.energy_jet,
    ]
    return Target(f"box of {d} points", *map(of_points, functions))
