"""Represent multilayer perceptrons as arrays, with their activations and importers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["activations", "mlp"])
