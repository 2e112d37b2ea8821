"""How a task ended travels as plain JSON, and what cannot be read is a loss, not the end of a run."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest

from curator.errors import CuratorError
from curator.io import Fault
from curator.sources import UnreadableShard
from curator_pipelines.executors import Loss
from curator_pipelines.external.answers import error_of, failure_of, message_of
from curator_pipelines.external.documents import Documents

DOCUMENTS = Documents("s3://bucket/run")


def there_and_back(error: Exception) -> Exception:
    record = json.loads(json.dumps(failure_of(error, DOCUMENTS)))["error"]
    return pickle.loads(pickle.dumps(error_of(record, DOCUMENTS)))


@pytest.mark.parametrize(
    "error",
    [
        OSError("the store said no"),
        OSError(28, "No space left on device", "/out/a.npy"),
        OSError(28, "No space left on device", b"/out/a.npy"),
        CuratorError("it failed"),
        UnreadableShard("s3://bucket/a.tar: 404", Fault.MISSING, "404"),
    ],
)
def test_an_error_keeps_its_kind_and_its_words(error: Exception) -> None:
    other = there_and_back(error)
    assert type(other) is type(error)
    assert str(other) == str(error).replace("b'/out", "'/out")


def test_memory_that_numpy_could_not_have_is_a_memory_error() -> None:
    with pytest.raises(MemoryError) as raised:
        np.empty(1 << 60, np.uint8)
    assert type(raised.value) is not MemoryError
    assert type(there_and_back(raised.value)) is MemoryError


@pytest.mark.parametrize(
    "answer",
    [{}, {"value": {"is": "Popen"}}, {"error": {}}, {"error": None}, {"lost": "SIGKILL"}, {"value": {"out": "../x"}}],
)
def test_an_answer_that_cannot_be_read_is_a_loss(answer: dict[str, Any]) -> None:
    assert isinstance(message_of(answer, DOCUMENTS), Loss)
