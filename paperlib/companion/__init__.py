"""Provide the figures, the explorer, the pretrained networks, and the code that reproduces the notebooks."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ["explorer", "figures", "pretrained", "reproduction"]
)
