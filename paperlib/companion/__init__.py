"""Provide figures, explorer, pretrained networks and reproduction of the notebooks."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ["explorer", "figures", "pretrained", "reproduction"]
)
