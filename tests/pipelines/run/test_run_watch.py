"""What a driver leaves for others to read, while it works, when it ends, and when it is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from curator.errors import CuratorError, InputError
from curator.io import owned
from curator_pipelines.executors import TaskEnd, WorkerState, note_event
from curator_pipelines.jobs.queries import inspect_run
from curator_pipelines.run import Reporter, event_names, log_lines, read_events, read_progress, run_watch, spending
from curator_pipelines.run.run_watch import RunWatch, recorded


def worker(number: int, state: str = "working", silent: float = 0.5, seconds: float = 1.0) -> WorkerState:
    task = f"pool-{number}.tar" if state == "working" else ""
    return WorkerState(f"worker {number} (cpu)", state, task, seconds, silent, 3, {"samples": 50, "bad": 1}, 10.0)


def events_of(out: Path) -> list[dict[str, object]]:
    return read_events(str(out), event_names(str(out)))


def test_before_the_first_stage_it_says_who_works_on_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", '{"metadata": {"job_submission_id": "raysubmit_42"}}')
    out = tmp_path / "run"
    with owned(str(out)) as owner, recorded(Reporter(quiet=True), str(out), owner):
        record = read_progress(str(out))
        assert record is not None
        assert (record["doing"], record["driver"]["job"]) == ("start", "Ray job raysubmit_42")
        assert record["driver"]["run"] == owner.holder.run[:8] == log_lines.run
        state = inspect_run(str(out))
        assert state.state == "running" and "Ray job raysubmit_42" in state.to_text()
    # A call that did nothing leaves nothing.
    assert not out.exists()
    assert log_lines.run == ""


@pytest.mark.parametrize(
    ("error", "code", "how"),
    [
        (None, 0, "done"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (CuratorError("the store is down"), 1, "the store is down"),
        (InputError("no such shard"), 2, "no such shard"),
        (ZeroDivisionError("by zero"), 1, "ZeroDivisionError: by zero"),
    ],
)
def test_how_a_run_ended_is_the_last_event(tmp_path: Path, error: BaseException | None, code: int, how: str) -> None:
    def run() -> None:
        with owned(str(tmp_path)) as owner, recorded(Reporter(quiet=True), str(tmp_path), owner), spending("pool"):
            if error is not None:
                raise error

    if error is None:
        run()
    else:
        with pytest.raises(type(error)):
            run()

    began, stage, ended, last = events_of(tmp_path)
    assert [event["kind"] for event in (began, stage, ended, last)] == [
        *("run_began", "stage_began", "stage_ended", "run_ended")
    ]
    assert ended["facts"]["state"] == ("done" if error is None else "stopped")  # type: ignore[index]
    assert last["text"] == how and last["facts"]["exit_code"] == code  # type: ignore[index]
    assert read_progress(str(tmp_path)) is None
    assert inspect_run(str(tmp_path)).state == ("done" if error is None else "stopped")


def test_workers_their_losses_and_the_slowest_tasks_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_watch, "EVERY_LOCAL", 0.0)
    reporter = Reporter(quiet=True)
    with owned(str(tmp_path)) as owner:
        watch = RunWatch(str(tmp_path), owner, reporter, None)
        watch.note("stage_began", "pool began", stage="pool")
        for seconds in (5.0, 90.0, 1.0, 7.0, 8.0, 9.0, 6.0):
            watch.ended(TaskEnd(f"took-{seconds:g}.tar", "worker 0 (cpu)", seconds, {"samples": 10}))
        watch.note("worker_lost", "a worker was lost (SIGKILL)", cause="SIGKILL")
        watch.look(lambda: [worker(0), worker(1, "starting", 3.0), worker(2, "idle")])

        record = read_progress(str(tmp_path))
        assert record is not None
        assert record["worker_counts"] == {"working": 1, "starting": 1, "idle": 1} and record["lost"] == 1
        # Whoever was silent for longest comes first.
        assert [each["name"][:8] for each in record["workers"]] == ["worker 1", "worker 0", "worker 2"]
        assert record["workers"][1]["task"] == "pool-0.tar" and record["workers"][1]["per_second"] == 5.0
        assert [each["task"] for each in record["slowest"]] == [f"took-{s}.tar" for s in (90, 9, 8, 7, 6)]
        text = inspect_run(str(tmp_path)).to_text()
        assert "workers     1 working, 1 starting, 1 idle, 1 lost" in text
        assert "worker 0 (cpu): working on pool-0.tar for " in text and "5.0 samples/s, 3 tasks done" in text
        assert "slowest     took-90.tar 1 min 30 s on worker 0 (cpu); took-9.tar" in text
        watch.note("stage_ended", "pool done", stage="pool")
        assert [each["seconds"] for each in events_of(tmp_path)[-1]["facts"]["slowest"]] == [90, 9, 8, 7, 6]  # type: ignore[index]
        watch.finish("done", 0)


def test_workers_are_looked_at_anew_when_progress_makes_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(run_watch.time, "monotonic", lambda: now[0])
    reporter = Reporter(quiet=True)
    with owned(str(tmp_path)) as owner:
        watch = RunWatch(str(tmp_path), owner, reporter, None)
        states = ["starting"]
        watch.look(lambda: [worker(0, states[0])])
        states[0] = "working"
        now[0] += 5
        with reporter.stage("pool", 10, "samples") as progress:
            watch.show(progress, False)
        record = read_progress(str(tmp_path))
    assert record is not None and record["worker_counts"] == {"working": 1}


def test_a_metrics_file_that_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with (
        owned(str(out)) as owner,
        pytest.raises(InputError, match="it is a folder, not a file"),
        recorded(Reporter(quiet=True), str(out), owner, str(tmp_path)),
    ):
        pytest.fail("the work began")
    assert log_lines.run == ""


def test_a_thousand_workers_are_counted_and_the_silent_ones_listed(tmp_path: Path) -> None:
    with owned(str(tmp_path)) as owner:
        watch = RunWatch(str(tmp_path), owner, Reporter(quiet=True), None)
        watch.look(lambda: [worker(number, silent=float(number)) for number in range(1000)])
        watch.write()
        record = read_progress(str(tmp_path))
    assert record is not None and record["worker_counts"] == {"working": 1000}
    assert record["workers"][0]["silent"] == 999 and len(record["workers"]) == 256


def test_the_time_left_counts_the_sets_that_come_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reporter = Reporter(quiet=True)
    with reporter.stage("target", 100, "samples") as progress:
        monkeypatch.setattr(type(progress), "rate", 10.0)
        progress({"samples": 50})
        reporter.ahead = {"target": 100, "pool": 1000.0}
        assert reporter.run_eta(progress) == pytest.approx(5 + 100)
        reporter.ahead = {"target": 100, "pool": None}
        assert reporter.run_eta(progress) is None


def test_what_is_waited_for_is_shown_until_workers_have_begun(tmp_path: Path) -> None:
    with owned(str(tmp_path)) as owner, recorded(Reporter(quiet=True), str(tmp_path), owner), spending("pool"):
        note_event("waiting", "no worker could start yet: waiting for CPUs")
        state = inspect_run(str(tmp_path))
        assert state.state == "waiting"
        assert "waiting     no worker could start yet: waiting for CPUs" in state.to_text()


KILLED = """
import os, signal, sys
from curator.io import owned
from curator_pipelines.executors import note_event
from curator_pipelines.run import Reporter, recorded, spending
out = sys.argv[1]
with owned(out) as owner, Reporter(quiet=True) as reporter, recorded(reporter, out, owner), spending("pool"):
    with reporter.stage("pool", 10, "samples") as progress:
        progress({"samples": 4})
        note_event("worker_lost", "a worker was lost (SIGKILL) in task 3, loss 1 of 3", task="pool-3.tar")
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_story_of_a_driver_that_was_killed_can_be_read(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL

    state = inspect_run(str(tmp_path))

    assert (state.state, state.holder) == ("died", "")
    text = state.to_text()
    assert "died: process " in text and "ended without a word; last heard of " in text
    assert "in pool: " in text and "of 10 samples" in text
    assert "worker_lost: a worker was lost (SIGKILL) in task 3, loss 1 of 3" in text
    assert "run the same command again" in text
    assert json.loads(json.dumps(state.to_json()))["events"][-1]["facts"] == {"task": "pool-3.tar"}
    # The next call is another story, behind this one.
    time.sleep(0.01)
    with owned(str(tmp_path)) as owner, recorded(Reporter(quiet=True), str(tmp_path), owner), spending("pool"):
        pass
    assert inspect_run(str(tmp_path)).state == "done"
    assert len({event["run"] for event in events_of(tmp_path)}) == 2
