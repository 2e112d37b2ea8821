"""The driver's side of `curator inspect`: what it lets others see of a run while that goes on, and after it died."""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from curator.errors import CuratorError
from curator.io import Owner, public_values, storage
from curator_pipelines.executors import TaskEnd, WorkerState, usage_so_far, watched_by
from curator_pipelines.run.events import Events
from curator_pipelines.run.log_lines import log_lines
from curator_pipelines.run.metrics import Metrics
from curator_pipelines.run.progress import Reporter, StageProgress
from curator_pipelines.run.progress_file import progress_record, progress_url, worker_records
from curator_pipelines.run.provenance import describe_call

__all__ = ["SHORT", "recorded"]

# Seconds between two writes. An object costs more to write than a local file.
EVERY_LOCAL = 1.0
EVERY_REMOTE = 10.0
# Letters of a run's name that tell it from others.
SHORT = 8
# So many of the slowest tasks of a stage are kept.
SLOWEST = 5


class RunWatch:
    """Keeps OUT/progress.json, OUT/events and the metrics; a `curator_pipelines.executors.Watcher`.

    A write that fails ends no run.

    Args:
        out: the run directory.
        owner: this process as its owner.
        reporter: whose stages are shown.
        metrics: where numbers go beside; None for nowhere, in tests.
    """

    def __init__(self, out: str, owner: Owner, reporter: Reporter, metrics: Metrics | None) -> None:
        self._out, self._owner, self._reporter, self._metrics = out, owner, reporter, metrics
        self._every = EVERY_LOCAL if storage.is_local(out) else EVERY_REMOTE
        self._written = -self._every
        self._stage: StageProgress | None = None
        self._ask: Callable[[], list[WorkerState]] = list
        self._stages = ["start"]
        self._counts: Counter[str] = Counter()
        self._slowest: list[tuple[float, int, TaskEnd]] = []
        self._ended = 0
        self._waiting = ""
        self._used_before = usage_so_far()
        self.driver = _driver(owner)
        self.events = Events(out, owner.holder.run[:SHORT])

    def show(self, progress: StageProgress, at_once: bool) -> None:
        """The progress of a stage changed; `at_once`: it must not be left out."""
        if self._stage is not progress:
            self._stage, self._slowest = progress, []
        self._maybe_write(at_once)

    def look(self, workers: Callable[[], list[WorkerState]]) -> None:
        """See `Watcher.look`."""
        # Kept: whatever makes the next record, time or progress, asks anew.
        self._ask = workers
        self._maybe_write(at_once=False)

    def note(self, kind: str, text: str, **facts: Any) -> None:
        """See `Watcher.note`."""
        self._counts[kind] += 1
        if kind == "stage_ended":
            self._stages.pop()
            self._ask, self._waiting = list, ""
            if self._slowest:
                facts["slowest"] = self._slowest_tasks()
        elif kind == "waiting":
            self._waiting = text
        elif kind == "stage_began":
            self._stages.append(facts["stage"])
            self._stage, self._slowest = None, []
        self.events.note(kind, text, **facts)
        if kind in ("stage_began", "waiting"):
            self._maybe_write(at_once=True)

    def ended(self, end: TaskEnd) -> None:
        """See `Watcher.ended`."""
        self._ended += 1
        heapq.heappush(self._slowest, (end.seconds, self._ended, end))
        if len(self._slowest) > SLOWEST:
            heapq.heappop(self._slowest)

    def write(self) -> None:
        """Write how the run is now."""
        self._maybe_write(at_once=True)

    def finish(self, how: str, code: int) -> None:
        """The last words: how the run ended, in words and as an exit code."""
        used = dict(usage_so_far() - self._used_before)
        self.events.note("run_ended", how, exit_code=code, seconds=round(self._reporter.seconds, 3), used=used)
        self.events.close()
        # Who lost the directory to another run must not take away what that run shows.
        with contextlib.suppress(OSError, CuratorError):
            self._owner.check()
            storage.remove(progress_url(self._out))
        if self._metrics is not None:
            self._metrics.write(self._record(), is_running=False, exit_code=code)

    def _maybe_write(self, at_once: bool) -> None:
        if not at_once and time.monotonic() - self._written < self._every:
            return
        record = self._record()
        with contextlib.suppress(OSError):
            storage.write_bytes(progress_url(self._out), json.dumps(public_values(record)).encode())
        if self._metrics is not None:
            self._metrics.write(record, is_running=True)
        self._written = time.monotonic()

    def _record(self) -> dict[str, Any]:
        workers = self._ask()
        if any(worker.state != "starting" for worker in workers):
            self._waiting = ""
        return {
            "doing": self._stages[-1],
            **progress_record(self._stages[-1], self._stage, self._reporter),
            "driver": self.driver,
            **worker_records(workers),
            "waiting": self._waiting,
            "lost": self._counts["worker_lost"],
            "preempted": self._counts["preempted"],
            "left_out": self._counts["worker_left_out"],
            "slowest": self._slowest_tasks(),
            "used": dict(usage_so_far() - self._used_before),
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def _slowest_tasks(self) -> list[dict[str, Any]]:
        ends = [end for _, _, end in sorted(self._slowest, reverse=True)]
        return [
            {"task": end.task, "worker": end.worker, "seconds": round(end.seconds, 3), "done": dict(end.done)}
            for end in ends
        ]


@contextlib.contextmanager
def recorded(reporter: Reporter, out: str, owner: Owner, metrics_file: str | None = None) -> Iterator[None]:
    """While the block runs, let others see how it goes: OUT/progress.json, OUT/events and metrics.

    progress.json is removed at the end, so that one without an owner is the last word of a driver that was killed.

    Args:
        reporter: what it shows is what others see.
        out: the run directory, which this process owns.
        owner: this process as its owner.
        metrics_file: where the numbers go for Prometheus' node exporter; None for nowhere.

    Raises:
        InputError: `metrics_file` cannot be written.
    """
    if metrics_file is not None:
        storage.check_writable(metrics_file, "metrics_file")
    watch = RunWatch(out, owner, reporter, Metrics.where_asked_for(metrics_file, out))
    before, log_lines.run = log_lines.run, owner.holder.run[:SHORT]
    call = watch.driver["command"] or "called from Python"
    how, code = "done", 0
    try:
        watch.events.note("run_began", f"{owner.holder}: {call}", **watch.driver)
        reporter.listener = watch.show
        watch.write()
        with watched_by(watch):
            yield
    except BaseException as error:
        how, code = _told(error)
        raise
    finally:
        reporter.listener = None
        watch.finish(how, code)
        log_lines.run = before


def _told(error: BaseException) -> tuple[str, int]:
    """An error in a line, and the exit code that it makes."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", 130
    text = " ".join(str(error).split())
    if isinstance(error, CuratorError):
        return text, error.exit_code
    return f"{type(error).__name__}: {text}", 1


def _driver(owner: Owner) -> dict[str, Any]:
    """Who drives the run."""
    holder, call = owner.holder, describe_call()
    return {
        "run": holder.run[:SHORT],
        "host": holder.host,
        "pid": holder.pid,
        "user": holder.user,
        "started": holder.since,
        "job": _job(),
        "command": call["command"],
        "curator": call["curator"],
    }


def _job() -> str:
    """The job of a cluster that this process is; empty where it is none."""
    # The name of the variable is its value in Ray's own code (ray._private.runtime_env.constants).
    with contextlib.suppress(ValueError, AttributeError):
        metadata = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")).get("metadata") or {}
        if name := metadata.get("job_submission_id") or metadata.get("job_name"):
            return f"Ray job {name}"
    if number := os.environ.get("SLURM_JOB_ID"):
        return f"Slurm job {number}"
    return ""
