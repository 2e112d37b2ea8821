"""How a task ended, as plain JSON and as the messages that the dispatcher hears from a worker.

An exception travels as its kind and its words: of a closed table of kinds, those that a driver tells from others.
"""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Mapping
from typing import Any

from curator.errors import CuratorError, InputError, TooManyBad, UnusableInput
from curator.io import ClaimEnded, Fault
from curator.sources import UnreadableShard
from curator_pipelines.executors import Failure, Kind, Loss, encode
from curator_pipelines.external.documents import Documents

__all__ = ["error_of", "failure_of", "lost", "message_of", "value"]

_KINDS = {kind.__name__: kind for kind in (InputError, UnusableInput, TooManyBad, ClaimEnded, CuratorError)}


def value(result: Any, documents: Documents) -> dict[str, Any]:
    """The answer of a task that gave a value."""
    return {"value": documents.encode(result)}


def lost(cause: str, advice: str) -> dict[str, Any]:
    """The answer of a task that ended its process."""
    return {"lost": cause, "advice": advice}


def failure_of(error: Exception, documents: Documents) -> dict[str, Any]:
    """The answer of a task that raised."""
    record: dict[str, Any] = {
        "kind": next((name for name, kind in _KINDS.items() if isinstance(error, kind)), type(error).__name__),
        "summary": traceback.format_exception_only(error)[0].strip(),
        # What a worker process adds is its own traceback.
        "trace": "\n".join(getattr(error, "__notes__", ())) or "".join(traceback.format_exception(error)),
    }
    if isinstance(error, CuratorError):
        record |= {"message": error.message, "field": error.field, "advice": documents.encode(error.advice)}
        record["value"] = error.value if isinstance(error.value, str | int | float) else None
    if isinstance(error, UnreadableShard):
        record |= {"kind": "UnreadableShard", "fault": error.fault.name, "why": error.why}
    if isinstance(error, OSError) and isinstance(error.errno, int):
        name = error.filename
        filename = os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else None
        record |= {"kind": "OSError", "errno": error.errno, "strerror": str(error.strerror), "filename": filename}
    elif isinstance(error, OSError):
        record |= {"kind": "OSError", "errno": None, "strerror": str(error), "filename": None}
    if isinstance(error, MemoryError):
        # NumPy's has another name, and means the same.
        record["kind"] = "MemoryError"
    return {"error": record}


def error_of(record: Mapping[str, Any], documents: Documents) -> Exception:
    """The exception in an answer; a `CuratorError` in place of one of no known kind."""
    match record["kind"]:
        case "UnreadableShard":
            return UnreadableShard(record["message"], Fault[record["fault"]], record["why"])
        case "OSError" if record["errno"] is None:
            return OSError(record["strerror"])
        case "OSError":
            return OSError(record["errno"], record["strerror"], record["filename"])
        case "MemoryError":
            return MemoryError(record["summary"])
        case kind if kind in _KINDS:
            advice = tuple(documents.decode(record["advice"]))
            return _KINDS[kind](record["message"], field=record["field"], value=record["value"], advice=advice)
    return CuratorError(record["summary"])


def message_of(answer: Mapping[str, Any], documents: Documents) -> bytes | Loss:
    """What the dispatcher hears; an answer that cannot be read is a loss."""
    try:
        if "lost" in answer:
            return Loss(answer["lost"], answer["advice"])
        if "value" in answer:
            return bytes(encode(Kind.VALUE, documents.decode(answer["value"])))
        error = error_of(answer["error"], documents)
        failure = Failure(pickle.dumps(error), answer["error"]["summary"], answer["error"]["trace"])
    except (UnusableInput, LookupError, TypeError, ValueError) as fault:
        return Loss(f"its answer cannot be read ({fault})", "start all workers from the driver's environment")
    return bytes(encode(Kind.FAILURE, failure))
