"""Provide a companion to the paper of Kaspschak and Meißner.

Its title is "Neural network perturbation theory and its application to the Born
series".

The public names are listed in the stub `__init__.pyi`. Each name is loaded when it is
first used, so that importing the package imports neither TensorFlow nor matplotlib.

References
----------
- Kaspschak and Meißner, the paper (2021):
  https://doi.org/10.1103/PhysRevResearch.3.023223
- Its preprint (2020): https://arxiv.org/abs/2009.03192
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
