"""What is learned: a function of the potential, with as many of its derivatives as are known."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from paperlib.scattering import scattering_length, scattering_length_gradient

__all__ = ["Target", "scattering_length_target"]


@dataclass(frozen=True)
class Target:
    """A scalar function of a batch of potentials, shape (n, d).

    Parameters
    ----------
    name : str
        Told apart by it: two targets of one name are taken to be one function.
    values : callable
        (n, d) -> (n,).
    gradients : callable, optional
        (n, d) -> (n, d).

    Examples
    --------
    >>> norm = Target("squared norm", values=lambda U: (U**2).sum(axis=1), gradients=lambda U: 2 * U)
    >>> norm.sampled("values", np.ones((2, 3)))
    array([3., 3.])
    """

    name: str
    values: Callable
    gradients: Callable | None = None

    def sampled(self, what, U):
        """`values` or `gradients` at the potentials U, checked for shape and for NaN.

        Raises
        ------
        ValueError
            If the target has no such derivative, or returns another shape, or a value that is not finite (the sample is named).
        """
        function = getattr(self, what)
        if function is None:
            raise ValueError(f"target {self.name!r}: has no {what}")
        expected = U.shape[:1] if what == "values" else U.shape
        result = np.asarray(function(U), dtype=np.float64)
        if result.shape != expected:
            raise ValueError(f"target {self.name!r}: {what} have shape {result.shape}; must be {expected}")
        if not np.isfinite(result).all():
            sample = int(np.argwhere(~np.isfinite(result))[0][0])
            raise ValueError(f"target {self.name!r}: {what} of sample {sample} are not finite")
        return result


def scattering_length_target():
    """The S-wave scattering length and its exact gradient.

    Examples
    --------
    >>> scattering_length_target().sampled("values", np.zeros((2, 8)))
    array([0., 0.])
    """
    return Target("scattering length", scattering_length, scattering_length_gradient)
