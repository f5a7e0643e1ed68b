"""The one place that loads TensorFlow, so that its log is quiet before it can speak."""

import os
import sys
from contextlib import contextmanager

__all__ = ["load"]


def load():
    """Return the tensorflow and keras modules.

    Raises
    ------
    ModuleNotFoundError
        If TensorFlow is not installed; the message says how to install it.
    RuntimeError
        If Keras has been set to another backend.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        with _quiet_stderr():
            import keras
            import tensorflow

            # The first look for devices logs too, before the log level is read.
            tensorflow.config.list_physical_devices()
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error.name}: training needs 'neural-born-series[train]'") from None
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(f"KERAS_BACKEND = {keras.backend.backend()!r}: training needs 'tensorflow'")
    return tensorflow, keras


@contextmanager
def _quiet_stderr():
    """Send what libraries write to file descriptor 2 nowhere: below Python's own stderr, where a log level is not yet read."""
    if "tensorflow" in sys.modules:
        yield
        return
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
