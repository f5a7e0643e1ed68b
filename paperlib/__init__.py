"""A companion to "A Neural Network Perturbation Theory Based on the Born Series".

The physics is in `potentials`, `scattering` and `born`; the networks in `mlp` and `training`.
What needs TensorFlow or matplotlib imports it when it is first used.
"""

from paperlib.mlp import MLP
from paperlib.symmetric import SymmetricTensor

__all__ = ["MLP", "SymmetricTensor"]
