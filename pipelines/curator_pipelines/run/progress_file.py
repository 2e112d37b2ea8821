"""OUT/progress.json: how far the running stage is, for a person who looks from another shell."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from curator.io import public_values, storage
from curator_pipelines.run.progress import Reporter, StageProgress

__all__ = ["read_progress", "recorded"]

NAME = "progress.json"
# Seconds between two writes. An object costs more to write than a local file.
EVERY_LOCAL = 1.0
EVERY_REMOTE = 10.0


@contextlib.contextmanager
def recorded(reporter: Reporter, out: str) -> Iterator[None]:
    """While the block runs, keep OUT/progress.json at what the reporter shows; remove it at the end.

    A failed write ends no run. Only the owner of OUT may call this.
    """
    every = EVERY_LOCAL if storage.is_local(out) else EVERY_REMOTE
    url, written = storage.join(out, NAME), -every

    def write(progress: StageProgress, at_once: bool) -> None:
        nonlocal written
        if at_once or time.monotonic() - written >= every:
            with contextlib.suppress(OSError):
                storage.write_bytes(url, json.dumps(public_values(_record(progress))).encode())
            written = time.monotonic()

    reporter.listener = write
    try:
        yield
    finally:
        reporter.listener = None
        with contextlib.suppress(OSError):
            storage.remove(url)


def _record(progress: StageProgress) -> dict[str, Any]:
    return {
        "stage": progress.name,
        "done": progress.done,
        "total": progress.total,
        "unit": progress.unit,
        "bad": progress.bad,
        "seconds": round(progress.seconds, 3),
        "per_second": None if progress.rate is None else round(progress.rate, 3),
        "eta": progress.eta,
        "text": progress.text(),
        "ledger": list(progress.last_bad),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def read_progress(out: str) -> dict[str, Any] | None:
    """Return the content of OUT/progress.json; None if no stage runs, or if it was killed before its first write."""
    try:
        record = json.loads(storage.read_bytes(storage.join(out, NAME)))
    except (FileNotFoundError, ValueError):
        return None
    return record if isinstance(record, dict) and "stage" in record else None
