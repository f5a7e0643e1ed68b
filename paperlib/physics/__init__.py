"""Define potentials, and compute their zero-energy scattering, their Born series and the energy of a box."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ["born", "box", "potentials", "scattering"]
)
