"""Stages, tasks and results as JSON: what passes between a driver and workers that share nothing but a run directory.

Whoever can write to OUT could put a pickle there, and unpickling is running code. So nothing is unpickled: a document
holds plain values, arrays of numbers, and objects of the classes of one closed table, which hold values and do nothing
when they are made.

URLs below OUT are written as such, since a worker may reach OUT under another URL.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np
import pyarrow as pa

from curator.errors import Another, Change, InputError, Leave, Reason, Redo, UnusableInput, Use
from curator.index import ListTask, MergeTask, PieceTask
from curator.io import Fault, FileHash, Stat, public_name, schemas
from curator.packing import OutputShard, PackedShard, SelectedRows
from curator.search import CentroidScan, Cursors, Scanned, ScanTask, TopK
from curator.selection import CslsScan, HalfWhitened
from curator.sources import Remark, Remarks, Source
from curator.store import DoneMark, Ledger, NamedParts, Place, line_of, line_values
from curator.types import LedgerLine
from curator_pipelines.stages import (
    EmbedStage,
    EmbedTask,
    EncoderSettings,
    IndexStage,
    ListStage,
    MergeStage,
    PackStage,
    ScanStage,
)

__all__ = ["STAGES", "Documents", "StoredArray"]

# What external workers may be told to do: stage class -> the field that says where it writes; None for those that only
# read, which may be another run's index or pool. Other stages run beside the driver.
STAGES: dict[type[Any], str | None] = {
    EmbedStage: "store_url",
    IndexStage: "index_url",
    MergeStage: "index_url",
    ListStage: None,
    ScanStage: None,
    PackStage: "out_url",
}
_CLASSES: tuple[type[Any], ...] = (
    *STAGES,
    *(EncoderSettings, NamedParts, Place, CentroidScan, CslsScan, HalfWhitened),
    *(EmbedTask, Source, Stat, PieceTask, MergeTask, ListTask, ScanTask, Cursors, OutputShard, SelectedRows),
    *(DoneMark, LedgerLine, Remarks, FileHash, TopK, Scanned, PackedShard),
    *(Another, Change, Leave, Redo, Use),
)
_ENUMS: tuple[type[Enum], ...] = (Reason, Remark, Fault)
_BY_NAME: dict[str, type[Any]] = {kind.__name__: kind for kind in (*_CLASSES, *_ENUMS)}
# Numbers and booleans: an array of objects could be anything.
_ARRAY_KINDS = "biuf"
_SAFE_NAME = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.")


@dataclass(frozen=True)
class StoredArray:
    """How arrays that stand in files of their own are written and read.

    Attributes:
        least: bytes of the smallest array that gets its own file.
        write: stores an array and returns its name.
        read: the array of a name.
    """

    least: float
    write: Callable[[np.ndarray], str]
    read: Callable[[str], np.ndarray]


def _no_file(what: Any) -> Any:
    raise UnusableInput("a document names a file where none belongs")


_ALL_INSIDE = StoredArray(math.inf, _no_file, _no_file)


class Documents:
    """Writes and reads documents of one run directory.

    Args:
        out: its URL.
    """

    def __init__(self, out: str) -> None:
        self._out = out.rstrip("/")

    def encode(self, value: Any, arrays: StoredArray = _ALL_INSIDE) -> Any:
        """A value as what `json.dumps` takes.

        Raises:
            TypeError: a part of it is of no class of the table.
            InputError: it holds a URL with secrets in it.
        """

        def encode(value: Any) -> Any:
            match value:
                case Enum():
                    return {"enum": _known(type(value)), "name": value.name}
                case None | bool() | int() | float():
                    return value
                case str():
                    return self._encode_text(value)
                case np.generic():
                    return value.item()
                case np.ndarray():
                    return _encode_array(value, arrays)
                case pa.ListArray():
                    return {"stands_for": value.to_pylist()}
                case Ledger():
                    return {"ledger": [line_values(line) for line in value]}
                case list():
                    return [encode(each) for each in value]
                case Mapping():
                    return {"map": [[encode(key), encode(each)] for key, each in value.items()]}
            if isinstance(value, Source | PackStage):
                _refuse_secrets(value)
            if is_dataclass(value) or hasattr(value, "_fields"):
                values = {name: encode(getattr(value, name)) for name in _field_names(type(value))}
                return {"is": _known(type(value)), **values}
            if isinstance(value, tuple):
                return {"tuple": [encode(each) for each in value]}
            raise TypeError(f"{type(value).__name__} is no part of a document")

        return encode(value)

    def decode(self, document: Any, arrays: StoredArray = _ALL_INSIDE) -> Any:
        """What `encode` was given.

        Raises:
            UnusableInput: it is no document that this version of curator wrote.
        """

        def decode(value: Any) -> Any:
            match value:
                case None | bool() | int() | float() | str():
                    return value
                case list():
                    return [decode(each) for each in value]
                case {"is": str(name)}:
                    return self._make(name, {key: decode(each) for key, each in value.items() if key != "is"})
                case {"out": str(name)}:
                    return self._below_out(name)
                case {"tuple": list(values)}:
                    return tuple(decode(each) for each in values)
                case {"map": list(items)}:
                    return {decode(key): decode(each) for key, each in items}
                case {"array": str(kind), "shape": list(shape), "base64": str(data)}:
                    return _decode_array(kind, shape, data)
                case {"array_file": str(name)}:
                    return arrays.read(_safe(name))
                case {"ledger": list(lines)}:
                    return Ledger(map(line_of, lines))
                case {"stands_for": list(lists)}:
                    return pa.array(lists, pa.list_(schemas.STANDS_FOR))
                case {"enum": str(name), "name": str(member)}:
                    return _class_of(name, Enum)[member]
            raise UnusableInput("it holds what no document holds")

        try:
            return decode(document)
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise UnusableInput(f"it is no document of this version of curator ({error})") from error

    def _encode_text(self, text: str) -> Any:
        if text == self._out or text.startswith(f"{self._out}/"):
            return {"out": text[len(self._out) + 1 :]}
        return str(text)

    def _below_out(self, name: str) -> str:
        if ".." in name.split("/"):
            raise UnusableInput(f"{name} is not below the run directory")
        return f"{self._out}/{name}".rstrip("/")

    def _make(self, name: str, values: dict[str, Any]) -> Any:
        kind = _class_of(name, object)
        if values.keys() != set(_field_names(kind)):
            raise UnusableInput(f"the fields of {name} are not those of this version of curator")
        field = STAGES.get(kind)
        if field and not f"{values[field]}/".startswith(f"{self._out}/"):
            raise UnusableInput(f"{field} is not below the run directory")
        if "identity" in values:
            _safe(values["identity"])
        return kind(**values)


def _field_names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else tuple(kind._fields)


def _known(kind: type[Any]) -> str:
    if _BY_NAME.get(kind.__name__) is not kind:
        raise TypeError(f"{kind.__name__} is no part of a document")
    return kind.__name__


def _class_of(name: str, base: type[Any]) -> Any:
    kind = _BY_NAME[name]
    if issubclass(kind, Enum) != (base is Enum):
        raise UnusableInput(f"{name} is not what it is called")
    return kind


def _safe(name: str) -> str:
    """A name that becomes part of a file's name."""
    if not name or name.startswith(".") or not _SAFE_NAME.issuperset(name):
        raise UnusableInput(f"{name!r} is no name of a file")
    return name


def _refuse_secrets(value: Source | PackStage) -> None:
    urls = (value.url, value.metadata, value.mark, value.read_url) if isinstance(value, Source) else value.urls.values()
    for url in urls:
        if public_name(url) != url:
            raise InputError(
                f"external workers read with credentials of their own, and the secrets of {public_name(url)} would "
                "stand in OUT",
                field="workers",
                value="external",
                advice="give the URL without them",
            )


def _encode_array(array: np.ndarray, arrays: StoredArray) -> dict[str, Any]:
    if array.dtype.kind not in _ARRAY_KINDS:
        raise TypeError(f"an array of {array.dtype} is no part of a document")
    if array.nbytes >= arrays.least:
        return {"array_file": arrays.write(array)}
    data = base64.b64encode(array.tobytes()).decode()
    return {"array": array.dtype.str, "shape": list(array.shape), "base64": data}


def _decode_array(kind: str, shape: list[int], data: str) -> np.ndarray:
    dtype = np.dtype(kind)
    if dtype.kind not in _ARRAY_KINDS:
        raise UnusableInput(f"an array of {kind} is no part of a document")
    # A copy: an array over bytes cannot be written to.
    return np.frombuffer(base64.b64decode(data), dtype).reshape(shape).copy()
