"""The one place that loads TensorFlow, so that its log is quiet before it can speak."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["load"]


def load() -> tuple[Any, Any]:
    """The modules tensorflow and keras; a RuntimeError where Keras has been set to another backend.

    Three variables of the environment are set where the caller has not set them, because TensorFlow reads them once, when it
    is imported: how much it logs, that oneDNN does not change last bits, and the backend of Keras.
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
def _quiet_stderr() -> Iterator[None]:
    """Send what is written to file descriptor 2 nowhere, while TensorFlow is imported for the first time.

    It logs there, below Python's own stderr, before it reads how much it may log, and would do so in every notebook; a test
    fails when a release of it no longer does.
    """
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
