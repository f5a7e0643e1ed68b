"""A companion to "Neural network perturbation theory and its application to the Born series" (arXiv:2009.03192).

The public names are those of the stub beside this file; each is loaded when it is first used, so that importing the
package imports neither TensorFlow nor matplotlib.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
