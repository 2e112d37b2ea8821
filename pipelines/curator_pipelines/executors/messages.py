"""The messages between a worker process and its driver.

The driver sends the stage, then tasks, each as bare pickled bytes. A worker answers with one byte for the
kind, then a pickled body: the kind is known even where the body cannot be read. Plain pickle, because
multiprocessing's own would hand tensors over in shared memory that dies with its worker.
"""

import io
import pickle
from enum import IntEnum
from typing import Any, TypeVar

from curator.errors import CuratorError
from curator_pipelines.executors.failures import Failure
from curator_pipelines.executors.protocol import Outcome, Task

__all__ = ["Kind", "body_of", "encode", "failure_in", "kind_of", "outcome_in"]

T = TypeVar("T")
R = TypeVar("R")


class Kind(IntEnum):
    """The kinds of messages that a worker sends."""

    STARTED = 0
    READY = 1
    OPEN_FAILED = 2
    PROGRESS = 3
    VALUE = 4
    FAILURE = 5


def encode(kind: Kind, body: object = None) -> memoryview:
    """Return a message as bytes, without a second copy of a big body."""
    buffer = io.BytesIO()
    buffer.write(bytes([kind]))
    pickle.Pickler(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(body)
    return buffer.getbuffer()


def kind_of(message: bytes) -> Kind:
    """Return the kind of a message."""
    return Kind(message[0])


def body_of(message: bytes) -> Any:
    """Return the body of a message; raises whatever unpickling it raises."""
    return pickle.loads(memoryview(message)[1:])


def failure_in(message: bytes) -> Failure:
    """Return the failure in an OPEN_FAILED or FAILURE message."""
    failure = body_of(message)
    assert isinstance(failure, Failure)
    return failure


def outcome_in(task: Task[T], message: bytes) -> Outcome[T, R]:
    """Return how a task ended, from a VALUE or FAILURE message."""
    if kind_of(message) is Kind.FAILURE:
        return Outcome(task, error=failure_in(message).revive())
    try:
        return Outcome(task, value=body_of(message))
    except Exception as error:
        unreadable = CuratorError(f"{task}: its result cannot be unpickled: {error}")
        unreadable.__cause__ = error
        return Outcome(task, error=unreadable)
