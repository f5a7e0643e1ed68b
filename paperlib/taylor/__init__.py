"""The Taylor series of a network: propagators and vertices, diagrams, tensors, series along directions."""

from paperlib.taylor import diagrams, symmetric
from paperlib.taylor.expansion import TaylorExpansion, derivative_tensor, directional_derivatives
from paperlib.taylor.expansion import propagator, taylor_expand, vertices

__all__ = [
    "TaylorExpansion", "derivative_tensor", "diagrams", "directional_derivatives", "propagator", "symmetric",
    "taylor_expand", "vertices",
]  # fmt: skip
