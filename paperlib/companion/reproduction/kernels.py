"""The process in which a notebook's cells run: this interpreter, the one arithmetic, and nothing that a shell or a home has set."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paperlib._support import arithmetic

__all__ = ["alone", "environment"]

# What reaches into cells: another backend, style, warning filter or start-up file changes what they show.
_REACHES_IN = ("MPLBACKEND", "PYTHONSTARTUP", "PYTHONWARNINGS")
_LONGEST = 60  # letters of a folder of sockets: the system takes names of 107


def environment(folder: str | Path) -> dict[str, str]:
    """This process' environment in the one arithmetic, without what reaches into cells; IPython's files are in `folder`."""
    import matplotlib

    kept = {name: value for name, value in arithmetic.environment(os.environ).items() if name not in _REACHES_IN}
    own = {"IPYTHONDIR": str(folder), "MATPLOTLIBRC": str(Path(matplotlib.get_data_path()) / "matplotlibrc")}
    return kept | own


@contextmanager
def alone() -> Iterator[dict[str, Any]]:
    """The options by which papermill starts such a kernel, while its files are there."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    folders = [folder for folder in (tempfile.gettempdir(), "/tmp", "/var/tmp") if os.access(folder, os.W_OK)]
    short = [folder for folder in folders if len(folder) <= _LONGEST]
    with tempfile.TemporaryDirectory(dir=short[0] if short else None) as folder:
        # Jupyter frees the ports that it has found for a kernel before the kernel takes them; of two that start at once, one
        # may lose its own to the other. Files in a folder of its own cannot be taken.
        sockets = {"transport": "ipc", "ip": str(Path(folder) / "kernel")} if short else {}

        class Kernel(AsyncKernelManager):
            def __init__(self, **options: Any) -> None:
                # Without folders there is one specification: that of this interpreter's own ipykernel.
                super().__init__(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]), **sockets, **options)

            def start_kernel(self, **options: Any) -> Any:
                return super().start_kernel(env=environment(folder), **options)

        # Its remark on being interrupted, which is how it is ended, would hide what matters.
        quiet = ["--IPKernelApp.log_level=CRITICAL"]
        yield {"kernel_name": "python3", "kernel_manager_class": Kernel, "extra_arguments": quiet}
