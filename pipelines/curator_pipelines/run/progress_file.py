"""OUT/progress.json: how a run is now, for a person who looks from another shell. `run_watch` writes it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from curator.io import storage
from curator_pipelines.executors import WorkerState
from curator_pipelines.run.progress import Reporter, StageProgress

__all__ = ["progress_record", "progress_url", "read_progress", "worker_records"]

NAME = "progress.json"
# So many workers are listed, those first that were silent for longest; the others are counted.
LISTED_WORKERS = 256


def progress_url(out: str) -> str:
    """Where a run directory has it."""
    return storage.join(out, NAME)


def progress_record(doing: str, progress: StageProgress | None, reporter: Reporter) -> dict[str, Any]:
    """What the reporter shows, as JSON has it.

    Args:
        doing: the stage that began last; before the first one `start`.
        progress: of the work of that stage; None where it has none to show.
        reporter: says how long the run takes so far, what is ahead of it, and what it said last.
    """
    shown = progress or StageProgress(doing, None, "", lambda progress: None)
    return {
        "stage": shown.name,
        "done": shown.done,
        "total": shown.total,
        "unit": shown.unit,
        "bad": shown.bad,
        "seconds": round(shown.seconds, 3),
        "per_second": None if shown.rate is None else round(shown.rate, 3),
        "eta": shown.eta,
        "run_seconds": round(reporter.seconds, 3),
        "run_eta": None if progress is None else reporter.run_eta(progress),
        "text": progress.text() if progress else reporter.last_said,
        "ledger": list(shown.last_bad),
        "bad_by_shard": [{"shard": shard, "bad": count} for shard, count in shown.worst_shards()],
    }


def worker_records(workers: Sequence[WorkerState]) -> dict[str, Any]:
    """The workers as JSON has them: `worker_counts` by state, and `workers`, each for itself."""
    listed = sorted(workers, key=lambda worker: -worker.silent)[:LISTED_WORKERS]
    return {
        "worker_counts": dict(Counter(worker.state for worker in workers)),
        "workers": [_worker_record(worker) for worker in listed],
    }


def _worker_record(worker: WorkerState) -> dict[str, Any]:
    done = max(worker.done.items(), key=lambda item: item[1], default=("", 0))
    rate = done[1] / worker.open_seconds if worker.open_seconds and done[0] else None
    return {
        "name": worker.name,
        "state": worker.state,
        "task": worker.task,
        "seconds": round(worker.seconds, 1),
        "silent": round(worker.silent, 1),
        "finished": worker.finished,
        "unit": done[0],
        "done": done[1],
        "per_second": None if rate is None else round(rate, 3),
    }


def read_progress(out: str) -> dict[str, Any] | None:
    """Return the content of OUT/progress.json; None if no run goes on, or if it was killed before its first write."""
    try:
        record = json.loads(storage.read_bytes(progress_url(out)))
    except (FileNotFoundError, ValueError):
        return None
    return record if isinstance(record, dict) and "stage" in record else None
