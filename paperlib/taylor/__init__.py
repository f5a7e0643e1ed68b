"""The Taylor series of a network: propagators and vertices, diagrams, tensors, series along directions."""

from paperlib.taylor import diagrams, symmetric
from paperlib.taylor.compilation import compile
from paperlib.taylor.series import (
    TaylorExpansion,
    directional_derivatives,
    propagator,
    taylor_expand,
    vertices,
)
from paperlib.taylor.operators import (
    bilaplacian,
    hvp,
    laplacian,
    mixed_derivative,
    partial_derivatives,
)
from paperlib.taylor.tensors import derivative_tensor

__all__ = [
    "TaylorExpansion",
    "bilaplacian",
    "compile",
    "derivative_tensor",
    "diagrams",
    "directional_derivatives",
    "hvp",
    "laplacian",
    "mixed_derivative",
    "partial_derivatives",
    "propagator",
    "symmetric",
    "taylor_expand",
    "vertices",
]
