"""Define potentials, and compute their scattering at zero energy and Born series.

The module `box` computes a second quantity for networks to learn, the ground-state
energy of a particle in a box.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ["born", "box", "potentials", "scattering"]
)
