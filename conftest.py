"""Stored cells are run by nbval in the interpreter that runs pytest, and without what the shell has set for plots or start-up."""

import os
import tempfile


def pytest_configure(config):
    if not config.getoption("nbval", False):
        return
    from paperlib.companion.reproduction import kernels

    config.option.nbval_current_env = True
    folder = tempfile.TemporaryDirectory()
    config.add_cleanup(folder.cleanup)
    own = kernels.environment(folder.name)
    os.environ.clear()
    os.environ.update(own)
