import os
from collections.abc import Iterator

import pytest
from stages_for_tests import Calls, cpus_and_device, fail_on_odd, raise_payload, report_ones, worker_pid

from curator_pipelines.executors import InProcessExecutor


def test_runs_in_this_process() -> None:
    (outcome,) = InProcessExecutor().map(Calls(worker_pid), [None])

    assert outcome.unwrap() == os.getpid()


def test_takes_a_task_only_when_its_outcome_is_asked_for() -> None:
    taken = []

    def payloads() -> Iterator[int]:
        for payload in range(3):
            taken.append(payload)
            yield payload

    outcomes = InProcessExecutor().map(Calls(worker_pid), payloads())
    next(outcomes)
    assert taken == [0]
    next(outcomes)
    assert taken == [0, 1]


def test_cpus_and_device_reach_the_stage() -> None:
    (outcome,) = InProcessExecutor(cpus=3, device="cuda:0").map(Calls(cpus_and_device), [None])

    assert outcome.unwrap()[:2] == (3, "cuda:0")


def test_progress_arrives_while_the_task_runs() -> None:
    seen = []

    (_,) = InProcessExecutor().map(Calls(report_ones), [3], on_progress=seen.append)

    assert seen == [{"samples": 1, "bytes": 10}] * 3


def test_an_error_keeps_its_traceback() -> None:
    (outcome,) = InProcessExecutor().map(Calls(fail_on_odd), [1])

    assert outcome.error is not None
    assert outcome.error.__traceback__ is not None


def test_ctrl_c_is_no_outcome() -> None:
    with pytest.raises(KeyboardInterrupt):
        list(InProcessExecutor().map(Calls(raise_payload), [(KeyboardInterrupt, ())]))


def test_describe() -> None:
    assert InProcessExecutor().describe() == "in this process, 1 thread"
    assert InProcessExecutor(cpus=4).describe() == "in this process, 4 threads"
