"""Where plug-ins are looked for: among the installed packages, and in the driver's working directory."""

from __future__ import annotations

import importlib
import os
import sys

__all__ = ["add_plugin_folder", "plugin_folder"]


def plugin_folder() -> str:
    """The folder beside the installed packages in which this process looks for plug-ins: its working directory."""
    return os.getcwd()


def add_plugin_folder(folder: str | None = None) -> None:
    """Look for plug-ins in a folder too, behind all that is installed.

    A console script looks in the folder of the script, not in the working directory; a worker may stand in another
    folder than the driver, or on another machine.

    Args:
        folder: the driver's `plugin_folder()`, in a worker; a folder that is not on this machine is passed over, since
            the plug-in may be installed here. This process' own working directory is added in any case: the working
            directory of a Ray job is one.
    """
    for path in (folder, plugin_folder()):
        if path is not None and path not in sys.path and os.path.isdir(path):
            sys.path.append(path)
            importlib.invalidate_caches()
