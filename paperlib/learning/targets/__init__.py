"""Define training targets: scalar functions with their derivatives.

`scattering_length_target` and `box_target` are the targets of this companion, `polynomial` is given by symmetric
tensors, and `from_jax` and `from_tensorflow` differentiate a function by JAX or TensorFlow.
"""

from paperlib.learning.targets.automatic import from_jax, from_tensorflow
from paperlib.learning.targets.known import box_target, scattering_length_target
from paperlib.learning.targets.target import Target, polynomial

__all__ = [
    "Target",
    "box_target",
    "from_jax",
    "from_tensorflow",
    "polynomial",
    "scattering_length_target",
]
