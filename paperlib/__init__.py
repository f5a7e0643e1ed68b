"""A companion to "A Neural Network Perturbation Theory Based on the Born Series" (arXiv:2009.03192).

The physics is in `potentials`, `scattering` and `born`, the networks are in `mlp` and `training`. Names are loaded when
they are first used: importing the package imports neither TensorFlow nor matplotlib.
"""

from importlib import import_module

_MODULES = {
    "activations": "",
    "box": "box_target box_tensor",
    "born": "born_approximation born_radius born_remainder born_tensor born_terms pade pade_of_terms weinberg_eigenvalues",
    "diagrams": "Diagram enumerate_diagrams",
    "ensemble": "Ensemble",
    "explorer": "",
    "figures": "",
    "mlp": "MLP",
    "perturbation": "LearnedSeries direct iterative relative_errors",
    "potentials": "discretize exponential from_physical gaussian poschl_teller sample square_well woods_saxon yukawa",
    "reference": "",
    "reproduction": "",
    "scattering": "bound_states effective_range scattering_length scattering_length_gradient scattering_length_hvp "
    "scattering_length_jet wave_function",
    "soap": "SOAP",
    "sweep": "",
    "symmetric": "SymmetricTensor",
    "targets": "Target from_jax from_tensorflow polynomial scattering_length_target",
    "taylor": "TaylorExpansion derivative_tensor directional_derivatives propagator taylor_expand vertices",
    "training": "TrainingConfig train_ensemble",
}
_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = sorted([*_MODULES, *_HOME])


def __getattr__(name):
    if name in _MODULES:
        return import_module(f"paperlib.{name}")
    if name in _HOME:
        return getattr(import_module(f"paperlib.{_HOME[name]}"), name)
    raise AttributeError(f"module 'paperlib' has no attribute {name!r}")


def __dir__():
    return __all__
