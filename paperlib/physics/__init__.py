"""The physics: potentials, what they scatter, and the Born series of it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["born", "box", "potentials", "scattering"])
