"""Define potentials, and compute their scattering at zero energy and Born series.

A second theory, the ground-state energy of a box, stands beside them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ["born", "box", "potentials", "scattering"]
)
