"""The one place that loads TensorFlow, so that its log is quiet before it can speak."""

import os

__all__ = ["load"]


def load():
    """Return the tensorflow and keras modules.

    Raises
    ------
    ModuleNotFoundError
        If TensorFlow is not installed; the message says how to install it.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        import keras
        import tensorflow
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error.name}: training needs 'neural-born-series[train]'") from None
    return tensorflow, keras
