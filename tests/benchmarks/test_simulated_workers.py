"""The clock of simulated workers: how long runs take whose answer is plain."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from benchmarks.simulated_workers import Workers
from curator_pipelines.executors.dispatcher import dispatch
from curator_pipelines.executors.protocol import as_tasks


def seconds(sizes: Sequence[float], speeds: Sequence[float]) -> float:
    workers = Workers(speeds, lambda task: task.payload, lambda task: sizes[task.number])
    outcomes = list(dispatch(workers, as_tasks(sizes), None))
    assert sorted(outcome.unwrap() for outcome in outcomes) == sorted(sizes)
    return workers.now


@pytest.mark.parametrize(
    ("sizes", "speeds", "expected"),
    [
        ([3.0], [1.0], 3.0),
        ([1.0] * 6, [1.0, 1.0], 3.0),
        ([1.0, 1.0, 4.0], [1.0, 1.0], 5.0),
        ([4.0, 1.0, 1.0], [1.0, 1.0], 4.0),
        ([1.0, 1.0, 1.0], [1.0, 0.1], 10.0),
        ([], [1.0], 0.0),
    ],
)
def test_a_run_takes_as_long_as_it_should(sizes: list[float], speeds: list[float], expected: float) -> None:
    assert seconds(sizes, speeds) == pytest.approx(expected)
