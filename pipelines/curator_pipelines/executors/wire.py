"""The messages between a worker process and its driver.

The driver sends the stage, then tasks, each as bare pickled bytes. A worker answers with one byte for the
kind, then a pickled body: the kind is known even where the body cannot be read. Plain pickle, because
multiprocessing's own would hand tensors over in shared memory that dies with its worker.
"""

import io
import pickle
from enum import IntEnum
from typing import Any

__all__ = ["Kind", "body_of", "encode", "kind_of"]


class Kind(IntEnum):
    """What a worker says."""

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
