# The public API: modules and nine classes. Editors and type checkers read this file,
# and `__init__.py` loads each name from the module given.
from . import taylor
from .companion import explorer, figures, pretrained, reproduction
from .learning import ensemble, perturbation, soap, sweep, targets, training
from .learning.ensemble import Ensemble
from .learning.perturbation import LearnedSeries
from .learning.soap import SOAP
from .learning.targets import Target
from .learning.training import TrainingConfig
from .networks import activations, mlp
from .networks.mlp import MLP
from .physics import born, box, potentials, scattering
from .taylor import diagrams, symmetric
from .taylor.diagrams import Diagram
from .taylor.series import TaylorExpansion
from .taylor.symmetric import SymmetricTensor

__all__ = [
    "Diagram",
    "Ensemble",
    "LearnedSeries",
    "MLP",
    "SOAP",
    "SymmetricTensor",
    "Target",
    "TaylorExpansion",
    "TrainingConfig",
    "activations",
    "born",
    "box",
    "diagrams",
    "ensemble",
    "explorer",
    "figures",
    "mlp",
    "perturbation",
    "potentials",
    "pretrained",
    "reproduction",
    "scattering",
    "soap",
    "sweep",
    "symmetric",
    "targets",
    "taylor",
    "training",
]
