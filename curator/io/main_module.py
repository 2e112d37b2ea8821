"""Starting processes without running the program's main module again in each of them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

__all__ = ["main_module_hidden"]

_lock = threading.Lock()


@contextmanager
def main_module_hidden() -> Iterator[None]:
    """Let processes that `multiprocessing` spawns while the block runs leave the program's main module alone.

    Otherwise each of them would import it first: a script without `if __name__ == "__main__"` would start itself again
    and again, and one that is read from stdin is not there to be imported. What such a process unpickles must stand in
    modules that it can import.
    """
    with _lock:
        main = sys.modules["__main__"]
        # `multiprocessing` looks here for a file or a name, and finds neither.
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main
