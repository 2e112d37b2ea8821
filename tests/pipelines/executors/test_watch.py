"""What a watcher sees of real workers: what they do, what they have done and used, and how they are lost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from stages_for_tests import Calls, Deadly, report_ones, survive, survive_after_a_while
from watch_for_tests import Seen

from curator_pipelines.executors import LocalExecutor, Task, usage_so_far, watched_by
from curator_pipelines.executors.dispatcher import Loss, Lost, WorkerHandle, dispatch
from curator_pipelines.executors.messages import Kind, encode
from curator_pipelines.executors.usage import Meter


def test_without_a_watcher_nothing_is_asked() -> None:
    assert [outcome.value for outcome in LocalExecutor().map(Calls(survive), [Deadly(0)])] == [0]


def test_a_worker_that_dies_is_an_event_with_its_task() -> None:
    seen = Seen()

    with watched_by(seen):
        (outcome,) = LocalExecutor().map(Calls(survive), [Deadly(1)])

    assert outcome.error is None
    ((kind, text, facts),) = seen.events
    assert kind == "worker_lost"
    assert "SIGKILL" in text and "loss 1 of 3" in text
    assert facts["cause"] == "SIGKILL" and facts["worker"] == "worker 0 (cpu)"
    assert (facts["number"], facts["limit"], facts["what"]) == (1, 3, "worker")
    assert "Deadly" in facts["task"]


def test_a_task_that_kills_every_worker_is_given_up_and_said() -> None:
    seen = Seen()

    with watched_by(seen):
        (outcome,) = LocalExecutor().map(Calls(survive), [Deadly(9, "exit")])

    assert outcome.lost
    assert [kind for kind, _, _ in seen.events] == ["worker_lost"] * 3 + ["task_given_up"]


def test_workers_are_seen_at_work_and_their_tasks_at_the_end() -> None:
    seen = Seen()

    with watched_by(seen):
        list(LocalExecutor(workers=2).map(Calls(survive_after_a_while), [Deadly(0)] * 4))

    states = {worker.state for workers in seen.looks for worker in workers}
    assert "working" in states and states <= {"starting", "working", "idle"}
    working = [worker for workers in seen.looks for worker in workers if worker.state == "working"]
    assert all("Deadly" in worker.task and worker.open_seconds > 0 for worker in working)
    assert {worker.name for worker in working} == {"worker 0 (cpu)", "worker 1 (cpu)"}
    assert len(seen.ends) == 4
    assert all(end.seconds > 0 and end.worker.startswith("worker ") for end in seen.ends)


def test_what_workers_use_is_added_and_is_no_progress() -> None:
    told: list[dict[str, int]] = []
    before = usage_so_far()

    outcomes = LocalExecutor().map(Calls(report_ones), [3], on_progress=lambda news: told.append(dict(news)))
    list(outcomes)

    assert {name for news in told for name in news} == {"samples", "bytes"}
    # A Python process that has started has used some CPU.
    assert (usage_so_far() - before)["cpu_ms"] > 20


def test_a_meter_tells_once_what_was_used() -> None:
    told: list[dict[str, int]] = []
    meter = Meter(lambda news: told.append(dict(news)))

    meter({"samples": 1})
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    meter.flush()

    assert told[0]["samples"] == 1
    assert 40 <= told[1]["cpu_ms"] <= 500
    assert "samples" not in told[1]


class Gone(WorkerHandle):
    """A worker of a node; it holds two GPUs."""

    gpus = 2.0

    def give(self, pickled_task: bytes) -> None:
        pass

    def kill(self) -> None:
        pass


class Preempted:
    """One worker at a time; the first is lost with its node, as announced, after it told what it had done."""

    workers = 1

    def __init__(self) -> None:
        self.script: list[bytes | Loss] = [
            bytes(encode(Kind.READY)),
            bytes(encode(Kind.PROGRESS, {"samples": 3, "cpu_ms": 700, "requests": 2})),
            Loss("node left", "", Lost.ANNOUNCED_NODE),
            bytes(encode(Kind.READY)),
            bytes(encode(Kind.VALUE, "done")),
        ]

    def start(self, workers: Sequence[Gone]) -> Gone | None:
        return None if workers else Gone("node", "a worker on 10.0.0.7")

    def listen(self, workers: Sequence[Gone]) -> Iterator[tuple[Gone, bytes | Loss]]:
        time.sleep(0.01)
        yield workers[0], self.script.pop(0)

    def dismiss(self, workers: Sequence[Gone]) -> None:
        pass

    def kill(self, workers: Sequence[Gone]) -> None:
        pass


def test_a_preemption_is_no_loss_and_what_was_used_stays_used() -> None:
    seen, told, before = Seen(), [], usage_so_far()

    def note(news: Any) -> None:
        told.append(dict(news))

    with watched_by(seen):
        (outcome,) = dispatch(Preempted(), iter([Task(0, "pool-0.tar")]), note)

    assert outcome.value == "done"
    assert told == [{"samples": 3}, {"samples": -3}]
    ((kind, _, facts),) = seen.events
    assert (kind, facts["task"], facts["what"]) == ("preempted", "'pool-0.tar'", "announced_node")
    used = usage_so_far() - before
    assert used["cpu_ms"] >= 700 and used["requests"] == 2
    assert used["gpu_ms"] >= 2 * 10
