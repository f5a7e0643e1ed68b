"""Derivatives of a network: propagators, diagrams, tensors, directional series."""

from paperlib.taylor import diagrams, symmetric
from paperlib.taylor.compilation import compile
from paperlib.taylor.operators import (
    bilaplacian,
    hvp,
    laplacian,
    mixed_derivative,
    partial_derivatives,
)
from paperlib.taylor.propagators import propagator, vertices
from paperlib.taylor.series import (
    TaylorExpansion,
    directional_derivatives,
    taylor_expand,
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
