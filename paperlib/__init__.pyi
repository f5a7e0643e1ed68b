# The public API. Editors and type checkers read this file, and `__init__.py` loads each name from the module given.
from . import taylor
from .companion import explorer, figures, pretrained, reproduction
from .learning import ensemble, perturbation, soap, sweep, targets, training
from .learning.ensemble import Ensemble
from .learning.perturbation import LearnedSeries, direct, iterative, relative_errors
from .learning.soap import SOAP
from .learning.targets import Target, box_target, from_jax, from_tensorflow, polynomial, scattering_length_target
from .learning.training import TrainingConfig, train_ensemble
from .networks import activations, mlp
from .networks.mlp import MLP
from .physics import born, box, potentials, scattering
from .physics.born import born_approximation, born_radius, born_remainder, born_tensor, born_terms
from .physics.born import pade, pade_of_terms, weinberg_eigenvalues
from .physics.box import box_tensor
from .physics.potentials import discretize, exponential, from_physical, gaussian, poschl_teller
from .physics.potentials import sample, square_well, woods_saxon, yukawa
from .physics.scattering import bound_states, effective_range, scattering_length, scattering_length_gradient
from .physics.scattering import scattering_length_hvp, scattering_length_jet, wave_function
from .taylor import diagrams, symmetric
from .taylor.compilation import compile
from .taylor.diagrams import Diagram, enumerate_diagrams
from .taylor.series import TaylorExpansion, directional_derivatives, propagator, taylor_expand, vertices
from .taylor.operators import bilaplacian, hessian_vector, laplacian, mixed_derivative, partials
from .taylor.symmetric import SymmetricTensor
from .taylor.tensors import derivative_tensor

__all__ = [
    "Diagram", "Ensemble", "LearnedSeries", "MLP", "SOAP", "SymmetricTensor", "Target", "TaylorExpansion",
    "TrainingConfig", "activations", "bilaplacian", "born", "born_approximation", "born_radius", "born_remainder",
    "born_tensor", "born_terms", "bound_states", "box", "box_target", "box_tensor", "compile", "derivative_tensor",
    "diagrams", "direct", "directional_derivatives", "discretize", "effective_range", "ensemble", "enumerate_diagrams",
    "explorer", "exponential", "figures", "from_jax", "from_physical", "from_tensorflow", "gaussian",
    "hessian_vector", "iterative", "laplacian", "mixed_derivative", "mlp", "pade", "pade_of_terms", "partials",
    "perturbation", "polynomial", "poschl_teller", "potentials", "propagator", "pretrained", "relative_errors",
    "reproduction", "sample", "scattering", "scattering_length", "scattering_length_gradient",
    "scattering_length_hvp", "scattering_length_jet", "scattering_length_target", "soap", "square_well", "sweep",
    "symmetric", "targets", "taylor", "taylor_expand", "train_ensemble", "training", "vertices", "wave_function",
    "weinberg_eigenvalues", "woods_saxon", "yukawa",
]  # fmt: skip
