"""Start the Jupyter kernels that run the cells of a notebook.

A kernel uses this Python interpreter in the deterministic mode. Settings of the user's shell and home directory do not
affect it.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paperlib._support import determinism

# Variables that change the output of cells: the backend of plots, start-up files and
# warning filters.
_REACHES_IN = ("MPLBACKEND", "PYTHONSTARTUP", "PYTHONWARNINGS")
_LONGEST = 60  # characters of a folder of sockets: the system allows names of 107


def environment(folder: str | Path) -> dict[str, str]:
    """Return the environment variables of a kernel.

    Parameters
    ----------
    folder : path
        The folder for IPython's files.

    Returns
    -------
    dict of str to str
        The variables of this process and of the deterministic mode, without those that
        change the output of cells.
    """
    import matplotlib

    kept = {
        name: value
        for name, value in determinism.environment(os.environ).items()
        if name not in _REACHES_IN
    }
    own = {
        "IPYTHONDIR": str(folder),
        "MATPLOTLIBRC": str(Path(matplotlib.get_data_path()) / "matplotlibrc"),
    }
    return kept | own


@contextmanager
def alone() -> Iterator[dict[str, Any]]:
    """Provide the options with which papermill starts an isolated kernel.

    Yields
    ------
    dict
        Keyword arguments of ``papermill.execute_notebook``. The kernel's temporary
        files exist until the context ends.
    """
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    folders = [
        folder
        for folder in (tempfile.gettempdir(), "/tmp", "/var/tmp")
        if os.access(folder, os.W_OK)
    ]
    short = [folder for folder in folders if len(folder) <= _LONGEST]
    with tempfile.TemporaryDirectory(dir=short[0] if short else None) as folder:
        # Jupyter frees the ports that it has found for a kernel before the kernel binds
        # them. If two kernels start at the same time, one may take the other's port.
        # Socket files in a folder of the kernel's own cannot be taken.
        sockets = (
            {"transport": "ipc", "ip": str(Path(folder) / "kernel")} if short else {}
        )

        class Kernel(AsyncKernelManager):
            def __init__(self, **options: Any) -> None:
                # Without folders the only kernel specification is that of this
                # interpreter's own ipykernel.
                super().__init__(
                    kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
                    **sockets,
                    **options,
                )

            def start_kernel(self, **options: Any) -> Any:
                return super().start_kernel(env=environment(folder), **options)

        # The kernel is ended by an interrupt. Its message about the interrupt would
        # hide the relevant output.
        quiet = ["--IPKernelApp.log_level=CRITICAL"]
        yield {
            "kernel_name": "python3",
            "kernel_manager_class": Kernel,
            "extra_arguments": quiet,
        }
