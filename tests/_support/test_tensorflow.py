"""Check the one module that imports TensorFlow."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

if find_spec("tensorflow") is None:
    pytest.skip("it needs the [train] extra", allow_module_level=True)


@pytest.mark.parametrize(
    "before, message",
    [
        (
            "sys.modules['keras'] = None",
            "ModuleNotFoundError: keras: training needs 'neural-born-series[train]'",
        ),
        (
            "os.environ['KERAS_BACKEND'] = 'jax'",
            "RuntimeError: KERAS_BACKEND = 'jax': training needs 'tensorflow'",
        ),
    ],
)
def test_a_missing_requirement_of_training_is_named(before, message):
    code = f"import os, sys; {before}; from paperlib._support import tensorflow; "
    code += "tensorflow.load()"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 1 and ended.stderr.strip().splitlines()[-1] == message


IMPORT = "import keras, tensorflow; tensorflow.config.list_physical_devices()"
LEVEL = "import os; os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'"


@pytest.mark.parametrize(
    "code, speaks",
    [
        (f"{LEVEL}; {IMPORT}", True),
        ("from paperlib._support import tensorflow; tensorflow.load()", False),
    ],
    ids=["TensorFlow by itself", "by this door"],
)
def test_the_log_of_the_first_import_is_silenced(code, speaks):
    """Check that the import writes nothing to stderr, unlike TensorFlow alone.

    Both have the same log level.
    If TensorFlow alone becomes quiet at this level, redirecting file descriptor 2 is no
    longer needed.
    """
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert bool(ended.stderr) == speaks, ended.stderr
