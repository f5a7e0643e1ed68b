"""Configure nbval.

Stored cells run in the interpreter of pytest, without the user's settings for plots
and start-up files.
"""

import os
import tempfile


def pytest_configure(config):
    """Set the environment variables of an isolated kernel if nbval is enabled."""
    if not config.getoption("nbval", False):
        return
    from paperlib.companion.reproduction import run_notebooks

    config.option.nbval_current_env = True
    folder = tempfile.TemporaryDirectory()
    config.add_cleanup(folder.cleanup)
    own = run_notebooks.kernel_environment(folder.name)
    os.environ.clear()
    os.environ.update(own)
