"""The networks: multilayer perceptrons as plain arrays."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["activations", "mlp"])
