"""Define training targets: the functions that networks learn, with their derivatives.

`scattering_length_target` and `box_target` are the physical targets of this companion.
`polynomial` makes a target from the symmetric tensors of a polynomial. `from_jax` and
`from_tensorflow` make a target from a function that JAX or TensorFlow differentiates.
"""

from paperlib.learning.targets.known import (
    box_target,
    from_jax,
    from_tensorflow,
    scattering_length_target,
)
from paperlib.learning.targets.target import Target, polynomial

__all__ = [
    "Target",
    "box_target",
    "from_jax",
    "from_tensorflow",
    "polynomial",
    "scattering_length_target",
]
