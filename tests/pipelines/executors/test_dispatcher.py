"""What the loop over workers makes of losses that no test machine can produce as often as needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from curator_pipelines.executors import MAX_ATTEMPTS, Task
from curator_pipelines.executors.dispatcher import Loss, Lost, WorkerHandle, dispatch
from curator_pipelines.executors.messages import Kind, encode
from curator_pipelines.executors.protocol import MAX_NODE_LOSSES


class Handle(WorkerHandle):
    """A worker that is lost with whatever task it gets, as often as its backend says."""

    def __init__(self) -> None:
        super().__init__("node", "a worker")
        self.has_task = False

    def give(self, pickled_task: bytes) -> None:
        self.has_task = True

    def kill(self) -> None:
        pass


class Losing:
    """One worker at a time. Each is lost with its first task, while there are `losses`."""

    workers = 1

    def __init__(self, losses: Sequence[Lost]) -> None:
        self.losses = list(losses)

    def start(self, workers: Sequence[Handle]) -> Handle | None:
        return None if workers else Handle()

    def listen(self, workers: Sequence[Handle]) -> Iterator[tuple[Handle, bytes | Loss]]:
        for worker in list(workers):
            if not worker.is_open:
                yield worker, bytes(encode(Kind.READY))
            elif self.losses:
                yield worker, Loss("a storm", "wait", self.losses.pop(0))
            else:
                yield worker, bytes(encode(Kind.VALUE, "done"))

    def dismiss(self, workers: Sequence[Handle]) -> None:
        pass

    def kill(self, workers: Sequence[Handle]) -> None:
        pass


@pytest.mark.parametrize(
    ("losses", "is_lost"),
    [
        ([Lost.ANNOUNCED_NODE] * 50, False),
        ([Lost.NODE] * (MAX_NODE_LOSSES - 1), False),
        ([Lost.NODE] * MAX_NODE_LOSSES, True),
        ([Lost.WORKER] * (MAX_ATTEMPTS - 1) + [Lost.NODE] * (MAX_NODE_LOSSES - 1), False),
        ([Lost.WORKER] * MAX_ATTEMPTS, True),
    ],
)
def test_losses_are_counted_by_their_kind(losses: Sequence[Lost], is_lost: bool) -> None:
    (outcome,) = dispatch(Losing(losses), iter([Task(0, "a")]), None)

    assert outcome.lost == is_lost
    assert outcome.task == Task(0, "a", losses.count(Lost.WORKER), losses.count(Lost.NODE))
    if is_lost:
        words = "5 nodes were lost in it" if losses[-1] is Lost.NODE else "3 workers died of it"
        assert str(outcome.error) == f"task 0 ('a'): given up after {words}, the last by a storm: wait"
