"""Waiting for a place, stuck, and at work are told apart by what the driver wrote."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from curator_pipelines.jobs.queries.live import progress_lines, running_state


def record(*workers: dict[str, Any], age: float = 1.0, **more: Any) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for each in workers:
        counts[each["state"]] = counts.get(each["state"], 0) + 1
    written = (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
    return {"stage": "pool", "text": "", "written": written, "workers": workers, "worker_counts": counts, **more}


def worker(state: str, seconds: float = 5.0, silent: float = 1.0) -> dict[str, Any]:
    task = "s3://bucket/pool-000003.tar" if state == "working" else ""
    return {
        **{"name": "a worker on 10.0.0.7", "state": state, "task": task, "seconds": seconds, "silent": silent},
        **{"finished": 2, "unit": "samples", "done": 70, "per_second": 7.0},
    }


@pytest.mark.parametrize(
    ("make", "state"),
    # Made when the test runs: a record gets old.
    [
        (lambda: record(worker("working"), worker("working", silent=400)), "running"),
        (lambda: record(worker("working", silent=400), worker("working", silent=300), worker("idle")), "silent"),
        (lambda: record(worker("working"), age=500), "silent"),
        (lambda: record(worker("starting", seconds=10)), "running"),
        (lambda: record(worker("starting", seconds=300), worker("starting", seconds=100)), "waiting"),
        (lambda: record(worker("starting", seconds=300), worker("working")), "running"),
        (lambda: record(waiting="no worker could start yet"), "waiting"),
        (lambda: record(), "running"),
        (lambda: {"stage": "pool"}, "running"),
    ],
)
def test_states(make: Callable[[], dict[str, Any]], state: str) -> None:
    assert running_state(make()) == state


def test_lines_say_which_worker_is_silent_on_which_shard() -> None:
    found = record(worker("working", seconds=400, silent=380), run_eta=3700.0, doing="pool", run_seconds=60.0)
    now, workers, line = progress_lines(found | {"lost": 2, "preempted": 1})
    assert "at least 1 h 1 min left (as of 1." in now
    assert workers == "workers     1 working, 2 lost, 1 preempted"
    assert "working on s3://bucket/pool-000003.tar for 6 min 41 s" in line
    assert "SILENT for 6 min 21 s: maybe stuck" in line


def test_a_driver_that_writes_nothing_is_said() -> None:
    assert any("the driver has written nothing for 8 min 20 s" in line for line in progress_lines(record(age=500)))


def test_of_many_workers_the_first_are_shown() -> None:
    lines = progress_lines(record(*[worker("working")] * 30))
    assert lines[-1] == "  and 10 more, heard of later than these"
