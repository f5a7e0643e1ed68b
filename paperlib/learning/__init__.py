"""Define targets, train ensembles of networks, and read perturbation series."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ["ensemble", "perturbation", "soap", "sweep", "targets", "training"]
)
