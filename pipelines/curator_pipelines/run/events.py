"""OUT/events: what happened in a run, one small file each, so that it can be read when its driver is dead.

A file is written once and whole, and its name begins with its time, so a listing is the story. A file:

    {"time": "2026-11-29T14:03:07.125Z", "run": "5f0c1a2b", "kind": "worker_lost", "text": "a worker was lost ...",
     "facts": {"worker": "worker 1 (cpu)", "cause": "SIGKILL", "task": "s3://bucket/pool-000007.tar", "number": 1}}

Kinds: run_began, run_ended, stage_began, stage_ended, worker_lost, worker_left_out, node_left_out, task_given_up,
preempted, waiting, and left_out, which counts what was not written.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from curator.io import public_values, storage

__all__ = ["Events", "event_names", "read_events"]

FOLDER = "events"
# So many of these are written in one call; the others are counted. Begins and ends are always written.
MOST = 300
ALWAYS = ("run_began", "run_ended", "stage_began", "stage_ended", "left_out")
# These alone are no sign of work.
BEFORE_WORK = ("run_began", "run_ended")
# Of earlier calls the newest are kept.
KEPT = 2000
NAME = re.compile(r"\d{8}T\d{9}Z-[0-9a-f]+-\d{5}-[a-z_]+\.json")

_log = logging.getLogger(__name__)


class Events:
    """The events of one call. Nothing is written before work begins: a call that is refused leaves nothing behind.

    Objects are written by a thread: no worker waits for a store that is slow to answer. A write that fails ends no run:
    it is told once, and what follows is not written.

    Args:
        out: the run directory.
        run: the name of the run, in short.
    """

    def __init__(self, out: str, run: str) -> None:
        self._folder = storage.join(out, FOLDER)
        self._run = run
        self._out = out
        self._count = 0
        self._counted = 0
        self._left_out: Counter[str] = Counter()
        self._has_failed = False
        self._held: list[tuple[str, bytes]] | None = []
        # Not for local files: the run's own sweep of what killed writers left would take a file that is being written.
        self._writer = None if storage.is_local(out) else ThreadPoolExecutor(1, "events")

    def note(self, kind: str, text: str, **facts: Any) -> None:
        """Something happened; see `Watcher.note`."""
        if kind == "run_ended":
            # The last word: `inspect` reads from it how a run ended.
            self._tell_left_out()
        if kind not in ALWAYS:
            if self._counted >= MOST:
                self._left_out[kind] += 1
                return
            self._counted += 1
        self._count += 1
        now = datetime.now(UTC)
        time = f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z"
        record = {"time": time, "run": self._run, "kind": kind, "text": text, "facts": facts}
        name = f"{re.sub('[-:.]', '', time)}-{self._run}-{self._count:05d}-{kind}.json"
        data = json.dumps(public_values(record), default=str).encode()
        if self._held is not None:
            self._held.append((name, data))
            if kind in BEFORE_WORK:
                return
            self._submit(self._forget_old)
            held, self._held = self._held, None
            for each in held:
                self._submit(self._write, *each)
        else:
            self._submit(self._write, name, data)

    def close(self) -> None:
        """Wait until everything is written."""
        self._tell_left_out()
        if self._writer is not None:
            self._writer.shutdown(wait=True)

    def _tell_left_out(self) -> None:
        if self._left_out:
            left, self._left_out = self._left_out, Counter()
            counts = ", ".join(f"{kind}: {count:,}" for kind, count in left.most_common())
            self.note("left_out", f"more happened than is kept here: {counts}", **left)

    def _submit(self, function: Callable[..., None], *arguments: Any) -> None:
        if self._writer is None:
            function(*arguments)
        else:
            self._writer.submit(function, *arguments)

    def _write(self, name: str, data: bytes) -> None:
        if self._has_failed:
            return
        try:
            storage.write_bytes(storage.join(self._folder, name), data)
        except Exception as error:
            self._has_failed = True
            _log.warning("what happens is not written to OUT/events any more: %s", error)

    def _forget_old(self) -> None:
        try:
            for name in event_names(self._out)[:-KEPT]:
                storage.remove(storage.join(self._folder, name))
        except Exception as error:
            _log.warning("old events could not be removed: %s", error)


def event_names(out: str) -> list[str]:
    """The names of a run's events in the order of time; none where it has none."""
    try:
        return sorted(name for name in storage.list_names(storage.join(out, FOLDER)) if NAME.fullmatch(name))
    except FileNotFoundError:
        return []


def read_events(out: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """Some of a run's events. One that went meanwhile, or is none, is left out."""
    with ThreadPoolExecutor(storage.REMOTE_THREADS, "events") as threads:
        read = threads.map(lambda name: _read(storage.join(out, FOLDER, name)), names)
        return [event for event in read if event is not None]


def _read(url: str) -> dict[str, Any] | None:
    try:
        event = json.loads(storage.read_bytes(url))
    except (FileNotFoundError, ValueError):
        return None
    return event if isinstance(event, dict) and {"time", "run", "kind", "text"} <= event.keys() else None
