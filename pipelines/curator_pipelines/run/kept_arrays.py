"""Arrays that a selector computes from the pool once, and that all later selections of the run use as they are stored.

Eigenvectors are not the same to the last bit on every machine. What is a function of stored ones is.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from curator.io import npy, schemas, storage
from curator.store import PartReader
from curator_pipelines.run.run_directory import TargetDirectory

__all__ = ["KeptArrays"]

FILE = re.compile(r"\w+-[0-9a-f]{16}\.npy")


class KeptArrays:
    """Keeps arrays below `selection/` of every target, as `NAME-<identity of the pool>.npy`.

    Args:
        directories: of the targets, all of the same pool.
        pool: that pool, as it is now; an array of another one is not used.
    """

    def __init__(self, directories: Sequence[TargetDirectory], pool: PartReader) -> None:
        self._directories = directories
        content = json.dumps([sorted(pool.finished().items()), schemas.FORMAT_VERSION])
        self._identity = hashlib.sha256(content.encode()).hexdigest()[:16]
        self._used: set[str] = set()

    def keep(self, name: str, make: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
        """The stored array of a name; where no target has it, `make` is called and the answer stored."""
        file = f"{name}-{self._identity}.npy"
        self._used.add(file)
        urls = [directory.path("selection", file) for directory in self._directories]
        stored = next((url for url in urls if storage.exists(url)), None)
        array = make() if stored is None else npy.read_array(stored)
        for url in urls:
            if not storage.exists(url):
                npy.write_array(url, array)
        return array

    def remove_others(self) -> None:
        """Remove arrays that the selection at hand did not ask for: those of another pool or another selector."""
        for directory in self._directories:
            for name in storage.list_names(directory.path("selection")):
                if FILE.fullmatch(name) and name not in self._used:
                    storage.remove(directory.path("selection", name))
