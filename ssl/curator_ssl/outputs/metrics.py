"""The numbers of a run: `OUT/metrics.jsonl`, a line a step, and whatever else takes them."""

from __future__ import annotations

import json
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from curator.io import scratch_folder, storage
from curator_ssl.loggers import Loggers

__all__ = ["Metrics"]


class Metrics:
    """Writes metrics. Use as a context manager.

    A remote run directory gets the file anew at every `publish`; locally lines are there at once.

    Args:
        out: the run directory.
        step: steps done before; later lines of an earlier part of the run are dropped.
        loggers: also get every line.
    """

    def __init__(self, out: str, step: int, loggers: Loggers) -> None:
        self.url = storage.join(out, "metrics.jsonl")
        kept = [line for line in _lines(self.url) if json.loads(line)["step"] < step] if step else []
        self._is_remote = not storage.is_local(out)
        self._stack = ExitStack()
        folder = self._stack.enter_context(scratch_folder()) if self._is_remote else storage.local_path(out)
        path = folder / "metrics.jsonl"
        storage.write_bytes(str(path), "".join(line + "\n" for line in kept).encode())
        self._file = path.open("a")
        self._path = path
        self._loggers = loggers

    def write(self, values: dict[str, Any]) -> None:
        """One line; `step` is among the values."""
        self._file.write(json.dumps(values) + "\n")
        self._loggers.write(values["step"], {name: value for name, value in values.items() if name != "step"})

    def publish(self) -> None:
        """Make everything written so far visible."""
        self._file.flush()
        if self._is_remote:
            storage.write_bytes(self.url, self._path.read_bytes())

    def __enter__(self) -> Metrics:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.publish()
        self._file.close()
        self._loggers.close()
        self._stack.close()


def _lines(url: str) -> list[str]:
    try:
        text = storage.read_bytes(url).decode()
    except FileNotFoundError:
        return []
    # What a kill cut off is no line.
    return [line for line in text.split("\n")[:-1] if line]
