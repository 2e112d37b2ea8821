"""The driver's side and real workers: what is done, what is given back, and what a lapse or a crash costs."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from external_for_tests import Start, ToldStage, until

from benchmarks.fault_proxy import FaultProxy
from curator.errors import CuratorError, InputError, Redo
from curator.io import Fault, owned, storage
from curator.sources import UnreadableShard
from curator_pipelines.executors import InProcessExecutor, Outcome
from curator_pipelines.external.executor import ExternalExecutor

pytestmark = pytest.mark.slow


class Driver(threading.Thread):
    """Runs a stage as the owner of OUT."""

    def __init__(self, out: str, stage: ToldStage, payloads: list[Any]) -> None:
        super().__init__(daemon=True)
        self.out, self.stage, self.payloads = out, stage, payloads
        self.outcomes: dict[int, Outcome[Any, Any]] = {}
        self.progress: Counter[str] = Counter()
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            with owned(self.out):
                executor = ExternalExecutor(self.out, InProcessExecutor())
                for outcome in executor.map(self.stage, self.payloads, on_progress=self.progress.update):
                    self.outcomes[outcome.task.number] = outcome
        except Exception as error:
            self.error = error

    def values(self) -> list[Any]:
        assert self.error is None
        return [self.outcomes[number].unwrap() for number in sorted(self.outcomes)]


@contextmanager
def driving(out: str, stage: ToldStage, *payloads: Any) -> Iterator[Driver]:
    driver = Driver(out, stage, list(payloads))
    driver.start()
    yield driver
    driver.join(120)
    assert not driver.is_alive()


def test_many_tasks_by_three_processes_of_two_hosts(out: str, start_worker: Start, tmp_path: Path) -> None:
    with driving(out, ToldStage(str(tmp_path)), *(("square", number) for number in range(60))) as driver:
        for host in ("host-1", "host-1", "host-2"):
            start_worker(host)
    assert driver.values() == [number**2 for number in range(60)]
    assert driver.progress == {"samples": 60}
    assert not storage.list_tree(out), "nothing is left of the stage"


def test_errors_come_back_as_they_are(out: str, start_worker: Start, tmp_path: Path) -> None:
    payloads = [("unreadable", "a.tar"), ("fail", "of no known kind"), ("advise", "cannot"), ("crash", 1), ("crash", 9)]
    with driving(out, ToldStage(str(tmp_path)), *payloads) as driver:
        start_worker()
    assert driver.error is None
    unreadable, unknown, advised, crashed, given_up = (driver.outcomes[number] for number in range(5))
    assert isinstance(unreadable.error, UnreadableShard)
    assert (unreadable.error.fault, unreadable.error.why) == (Fault.DENIED, "access denied")
    assert str(unknown.error) == "ValueError: of no known kind"
    assert isinstance(advised.error, InputError)
    assert (advised.error.field, advised.error.advice) == ("pool", (Redo("pool"), "look at it"))
    # A crash costs the process and an attempt, not the worker.
    assert crashed.unwrap() == 1
    assert given_up.lost
    assert "given up after 3 workers died of it, the last by SIGABRT" in str(given_up.error)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_task_that_is_given_back_has_no_attempt_more(
    number: signal.Signals, out: str, start_worker: Start, tmp_path: Path
) -> None:
    with driving(out, ToldStage(str(tmp_path)), ("wait_always", "x"), ("attempt", 0)) as driver:
        first = start_worker()
        until((tmp_path / "began-x").exists, "the first worker")
        first.send_signal(number)
        assert first.wait(60) == 130
        (tmp_path / "go-x").touch()
        start_worker("host-2")
    assert driver.values() == ["x", 0]
    assert driver.outcomes[0].task.attempt == 0


def test_a_claim_that_lapses_is_an_attempt(out: str, start_worker: Start, tmp_path: Path) -> None:
    with driving(out, ToldStage(str(tmp_path)), ("wait", "x")) as driver:
        first = start_worker()
        until((tmp_path / "began-x").exists, "the first worker")
        first.kill()
        start_worker("host-2")
    assert driver.values() == [1]


def test_who_was_stopped_too_long_writes_nothing(out: str, start_worker: Start, tmp_path: Path) -> None:
    url = storage.join(out, "file")
    with driving(out, ToldStage(str(tmp_path)), ("write", ["x", url])) as driver:
        first = start_worker()
        until((tmp_path / "began-x").exists, "the first worker")
        child = int(next(iter(tmp_path.glob("opened-*"))).name.partition("-")[2])
        for process in (child, first.pid):
            os.kill(process, signal.SIGSTOP)
        start_worker("host-2")
    assert driver.values() == [1]
    storage.remove(url)
    (tmp_path / "go-x").touch()
    os.kill(first.pid, signal.SIGCONT)
    with suppress(ProcessLookupError):  # the first may have ended it by now
        os.kill(child, signal.SIGCONT)
    until(lambda: "has ended" in (tmp_path / "worker-0.log").read_text(), "the first worker to notice")
    assert not storage.exists(url)
    assert first.poll() is None


def test_a_stage_that_two_hosts_cannot_open(out: str, start_worker: Start, tmp_path: Path) -> None:
    stage = ToldStage(str(tmp_path), cannot=("host-1", "host-2"))
    with driving(out, stage, ("square", 2)) as driver:
        workers = [start_worker("host-1"), start_worker("host-2")]
    assert isinstance(driver.error, CuratorError)
    assert "RuntimeError: no such device" in str(driver.error)
    assert [worker.wait(60) for worker in workers] == [2, 2]


def test_one_host_that_cannot_is_no_harm(out: str, start_worker: Start, tmp_path: Path) -> None:
    with driving(out, ToldStage(str(tmp_path), cannot=("host-1",)), ("square", 2)) as driver:
        assert start_worker("host-1").wait(60) == 2
        start_worker("host-2")
    assert driver.values() == [4]


def test_the_next_owner_ends_the_claims_of_a_killed_driver(out: str, start_worker: Start, tmp_path: Path) -> None:
    """What a killed driver left is not done by anybody once another has taken over."""
    folder = ExternalExecutor(out, InProcessExecutor()).map(ToldStage(str(tmp_path)), [("wait", "x")])
    ended = []

    def drive() -> None:
        try:
            next(folder)
        except CuratorError as error:
            ended.append(str(error))

    left = threading.Thread(target=drive, daemon=True)
    with owned(out):
        left.start()
        worker = start_worker()
        until((tmp_path / "began-x").exists, "the worker")
    with driving(out, ToldStage(str(tmp_path)), ("square", 3)) as driver:
        pass
    assert driver.values() == [9]
    assert worker.poll() is None
    left.join(60)
    assert "another run has taken over" in ended[0]
    assert not storage.list_tree(out)


def test_no_driver_no_worker(out: str, start_worker: Start) -> None:
    worker = start_worker("host-1", "--idle-exit", "1s", "--json")
    assert worker.wait(60) == 0
    assert worker.stdout is not None
    assert '"tasks": {}' in worker.stdout.read()


def test_other_stages_run_beside(tmp_path: Path) -> None:
    class Other:
        def open(self, context: Any) -> Any:
            return lambda task: -task.payload

    executor = ExternalExecutor(str(tmp_path), InProcessExecutor())
    assert [outcome.unwrap() for outcome in executor.map(Other(), [1, 2])] == [-1, -2]


def test_a_store_without_conditional_writes_is_refused() -> None:
    with pytest.raises(InputError, match="conditional writes"):
        ExternalExecutor("memory://run", InProcessExecutor())


def test_what_a_task_costs_a_store(
    faulty_s3: FaultProxy, s3_bucket: str, tmp_path: Path, worker_of: Callable[[str], object]
) -> None:
    """Requests about tasks, without those of a driver and of workers that look around."""
    out, tasks = f"{s3_bucket}/run", 40
    with driving(out, ToldStage(str(tmp_path)), *(("square", number) for number in range(tasks))) as driver:
        worker_of(out)
    assert driver.values() == [number**2 for number in range(tasks)]
    of_tasks = [path for method, path, _ in faulty_s3.requests if re.search("/(tasks|claims|results)/", path)]
    removals = [path for method, path, _ in faulty_s3.requests if method == "POST"]
    assert len(of_tasks) + len(removals) <= 8 * tasks
