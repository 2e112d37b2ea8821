"""Storage that all machines of a cluster can write to."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from curator.io import storage

__all__ = ["SEEN_AFTER", "SharedFolder", "answer_from_node"]

# What another machine wrote may take so many seconds to be seen: network file systems remember what is not there.
SEEN_AFTER = 5.0


class SharedFolder:
    """A folder on a path of this machine: whether other nodes reach the same one is asked through a file in it.

    Args:
        out: URL of a local directory, there or not; a file is put into it, or into the nearest folder above it.
    """

    def __init__(self, out: str) -> None:
        path = Path(storage.local_path(out))
        self.folder = next(folder for folder in (path, *path.parents) if folder.is_dir())
        self._token = secrets.token_hex(8)
        # A killed run's are swept with its other temporary files.
        self._question = self.folder / f".shared.{self._token}{storage.TEMPORARY}"

    def ask(self) -> str:
        """Write the question; returns its path, for `answer_from_node`."""
        self._question.write_text(self._token)
        return str(self._question)

    def is_answered(self, node_id: str) -> bool:
        """Whether a node has read the question and written its answer where this machine finds it by now."""
        answer = Path(f"{self._question}.{node_id}{storage.TEMPORARY}")
        if not answer.exists():
            return False
        is_there = answer.read_text() == self._token
        answer.unlink(missing_ok=True)
        return is_there

    def close(self) -> None:
        """Remove the question."""
        self._question.unlink(missing_ok=True)


def answer_from_node(question: str, node_id: str) -> str:
    """On a node: read the question and write the answer beside it; returns what is wrong, empty if nothing."""
    try:
        text = Path(question).read_text()
        Path(f"{question}.{node_id}{storage.TEMPORARY}").write_text(text)
    except OSError as error:
        return f"{os.path.dirname(question)} cannot be read and written there ({error.strerror or error})"
    return ""
