"""Import TensorFlow and Keras in one place, without the log of TensorFlow."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def load() -> tuple[Any, Any]:
    """Return the modules tensorflow and keras.

    TensorFlow and Keras read three environment variables when they are imported. This
    function sets those that are not set yet: TF_CPP_MIN_LOG_LEVEL to 3, so that
    TensorFlow logs fatal errors only, KERAS_BACKEND to tensorflow, and
    TF_ENABLE_ONEDNN_OPTS to 0, so that TensorFlow uses its own operations where oneDNN
    would round differently. During the first import, all output to file descriptor 2
    (stderr) is discarded.

    Raise a ModuleNotFoundError if TensorFlow or Keras is not installed, and a
    RuntimeError if Keras uses another backend.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        with _quiet_stderr():
            import keras
            import tensorflow

            # The first search for devices also writes to the log, before the log level
            # is read.
            tensorflow.config.list_physical_devices()
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name}: training needs 'neural-born-series[train]'"
        ) from None
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            f"KERAS_BACKEND = {keras.backend.backend()!r}: training needs 'tensorflow'"
        )
    return tensorflow, keras


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Discard all output to file descriptor 2 during the first import of TensorFlow.

    Nothing is discarded if TensorFlow is imported already.

    TensorFlow writes its log there, below Python's own stderr, before it reads the log
    level. The lines would appear in every notebook. A test fails as soon as a release
    of TensorFlow no longer writes them.
    """
    if "tensorflow" in sys.modules:
        yield
        return
    stderr = os.dup(2)
    try:
        with open(os.devnull, "w") as devnull:
            os.dup2(devnull.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
