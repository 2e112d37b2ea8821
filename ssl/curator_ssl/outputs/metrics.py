"""The numbers of a run: `OUT/metrics.jsonl`, a line a step, and event files for TensorBoard."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from curator.io import storage

__all__ = ["Metrics"]


class Metrics:
    """Writes metrics. Use as a context manager.

    A remote run directory gets the file anew at every `publish`; locally lines are there at once.

    Args:
        out: the run directory.
        step: steps done before; later lines of an earlier part of the run are dropped.
        tensorboard: also write event files to OUT/tensorboard.
    """

    def __init__(self, out: str, step: int, tensorboard: bool = False) -> None:
        self.url = storage.join(out, "metrics.jsonl")
        kept = [line for line in _lines(self.url) if json.loads(line)["step"] < step] if step else []
        self._folder = None if storage.is_local(out) else tempfile.TemporaryDirectory(prefix="curator-")
        path = Path(self._folder.name) / "metrics.jsonl" if self._folder else storage.local_path(self.url)
        storage.write_bytes(str(path), "".join(line + "\n" for line in kept).encode())
        self._file = path.open("a")
        self._path = path
        self._events = _event_writer(out) if tensorboard else None

    def write(self, values: dict[str, Any]) -> None:
        """One line; `step` is among the values."""
        self._file.write(json.dumps(values) + "\n")
        if self._events is not None:
            for name, value in values.items():
                if name != "step":
                    self._events.add_scalar(name, value, values["step"])

    def publish(self) -> None:
        """Make everything written so far visible."""
        self._file.flush()
        if self._folder is not None:
            storage.write_bytes(self.url, self._path.read_bytes())

    def __enter__(self) -> Metrics:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.publish()
        self._file.close()
        if self._events is not None:
            self._events.close()
        if self._folder is not None:
            self._folder.cleanup()


def _lines(url: str) -> list[str]:
    try:
        text = storage.read_bytes(url).decode()
    except FileNotFoundError:
        return []
    # What a kill cut off is no line.
    return [line for line in text.split("\n")[:-1] if line]


def _event_writer(out: str) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(storage.join(out, "tensorboard"))
