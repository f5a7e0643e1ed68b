"""What is learned: any function with its derivatives; a_0 and a box of this companion; what JAX or TensorFlow differentiates."""

from paperlib.learning.targets.automatic import from_jax, from_tensorflow
from paperlib.learning.targets.physics import box_target, scattering_length_target
from paperlib.learning.targets.target import Target, polynomial

__all__ = ["Target", "box_target", "from_jax", "from_tensorflow", "polynomial", "scattering_length_target"]
