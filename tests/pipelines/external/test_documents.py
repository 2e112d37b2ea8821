"""What stands in OUT is data: everything that passes comes back as it was, and nothing else is made of it."""

from __future__ import annotations

import dataclasses
import json
import pickle
import re
from enum import Enum
from typing import Any, get_args, get_type_hints

import numpy as np
import pyarrow as pa
import pytest
from external_for_tests import ToldStage

from curator.errors import Another, InputError, Reason, UnusableInput
from curator.index import ListTask, MergeTask, PieceTask
from curator.io import FileHash, Stat, schemas
from curator.packing import OutputShard, PackedShard, SelectedRows
from curator.search import CentroidScan, Cursors, Scanned, ScanTask, TopK
from curator.selection import CslsScan, HalfWhitened
from curator.sources import Remark, Remarks, Source
from curator.store import DoneMark, Ledger, NamedParts, Place
from curator.types import LedgerLine
from curator_pipelines.executors import Task
from curator_pipelines.external import documents
from curator_pipelines.external.documents import STAGES, Documents, StoredArray
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

OUT = "s3://bucket/run"
FLOATS = np.arange(6, dtype=np.float32).reshape(2, 3)
IDS = np.array([3, 1 << 40], np.int64)
SOURCE = Source("tar", "s3://data/a.tar", "s3://data/a.tar", Stat(10, "etag"), left_out=((".pdf", 2),))
POOL = NamedParts(f"{OUT}/pool", {0: "abc", 7: "def"}, {7: Place("s3://other/pool", 3, "hash")})
SPACE = HalfWhitened(FLOATS[0], FLOATS, FLOATS[:, 0])
CURSORS = Cursors.start(2)
TOP_K = TopK(FLOATS, IDS, IDS, IDS, 4, 2)
STANDS_FOR = pa.array([[], [{"id": 1, "shard": "a", "key": "k", "similarity": 0.5}]], pa.list_(schemas.STANDS_FOR))
ROWS = SelectedRows(IDS, FLOATS[:, 0], IDS.astype(np.int32), IDS.astype(np.int32), STANDS_FOR)
ENCODER = EncoderSettings("lite0", None, "fp32", 32, "hash", {"files": {"a": "b"}}, "/home/ann")
LEDGER = Ledger([LedgerLine("a.tar", "k", 3, "read", Reason.NO_IMAGE, "none")])
VALUES: list[Any] = [
    *(None, True, 3, -np.inf, "text", [1, "a"], (1, (2,)), {3: "x", "y": None}),
    *(EmbedStage(f"{OUT}/pool", ENCODER, 3), EmbedTask(SOURCE, 3, "abc")),
    DoneMark(2, 1, 3, {"read": 0.1}, LEDGER, Remarks({Remark.LINKS: 1}, {Remark.LINKS: "a"}), FileHash(3, "ab")),
    *(IndexStage(f"{OUT}/index", POOL, 0.1), PieceTask(1, {0: "abc"}, "def")),
    *(MergeStage(f"{OUT}/index"), MergeTask("ab", 1, 2, 3, ((f"{OUT}/index/pieces/0", None), ("a", IDS)))),
    ListStage("s3://other/index", POOL, FLOATS),  # another run's, which is only read
    *(ListStage(f"{OUT}/index", POOL, FLOATS), ListTask(f"{OUT}/index/pieces/0", IDS > 3, 2, CURSORS, FLOATS[:, 0])),
    *(ScanStage(POOL, CentroidScan(FLOATS), (FLOATS,)), ScanStage(POOL, CslsScan(SPACE, FLOATS, FLOATS, IDS, IDS))),
    ScanTask((0, 1), IDS, CURSORS, FLOATS[:, 0], 2, None, ((FLOATS[:, 0], 3),)),
    Scanned(TOP_K, (TOP_K,), (0, 1)),
    *(PackStage(OUT, POOL, {"a": "b"}), OutputShard(1, ROWS, 0, "abc", {"a": Stat(1, "v")})),
    PackedShard(1, 2, 3, 4, 5),
    (Another("out"), "text"),
]


def same(one: Any, other: Any) -> bool:
    """Equality through classes that have none, arrays with their types."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if dataclasses.is_dataclass(one):
        fields = [field.name for field in dataclasses.fields(one)]
        return all(same(getattr(one, name), getattr(other, name)) for name in fields)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_comes_back_as_it_was(value: Any) -> None:
    document = json.loads(json.dumps(Documents(OUT).encode(value)))
    assert same(Documents(OUT).decode(document), value)


def test_every_stage_of_the_table_is_tried() -> None:
    assert set(STAGES) - {ToldStage} <= {type(value) for value in VALUES}


def parts_of_type(annotation: Any) -> set[type[Any]]:
    """The classes of ours that a type speaks of."""
    found = set[type[Any]]().union(*map(parts_of_type, get_args(annotation)))
    is_ours = isinstance(annotation, type) and (
        dataclasses.is_dataclass(annotation) or hasattr(annotation, "_fields") or issubclass(annotation, Enum)
    )
    return found | {annotation} if is_ours else found


def test_what_a_class_of_the_table_holds_is_in_the_table() -> None:
    """A class that gets a field of a new type would fail only where somebody runs external workers."""
    missing = {
        f"{kind.__name__}.{name}: {part.__name__}"
        for kind in documents._CLASSES
        for name, annotation in get_type_hints(kind).items()
        for part in parts_of_type(annotation)
        if documents._BY_NAME.get(part.__name__) is not part
    }
    assert missing == set()


def test_out_may_have_another_url_for_a_worker() -> None:
    document = Documents(OUT).encode(EmbedStage(f"{OUT}/pool", None))
    assert Documents("/mnt/run").decode(document).store_url == "/mnt/run/pool"
    assert Documents("/mnt/run").decode(Documents(OUT).encode(PackStage(OUT, POOL, {}))).out_url == "/mnt/run"


def test_large_arrays_stand_in_files_of_their_own() -> None:
    stored: dict[str, Any] = {}

    def write(array: Any) -> str:
        stored["name"] = array
        return "name"

    arrays = StoredArray(24, write, stored.__getitem__)
    document = Documents(OUT).encode(ListStage(f"{OUT}/index", POOL, FLOATS), arrays)
    assert document["centroids"] == {"array_file": "name"}
    assert same(Documents(OUT).decode(document, arrays).centroids, FLOATS)
    with pytest.raises(UnusableInput):
        Documents(OUT).decode(document)


@pytest.mark.parametrize("kind", [EmbedTask, PieceTask, ListTask, ScanTask, OutputShard])
def test_a_task_is_called_by_what_it_does(kind: type[Any]) -> None:
    """Its name stands in messages, events and metrics: no arrays, and no URL with secrets."""
    for payload in (value for value in VALUES if isinstance(value, kind)):
        assert re.fullmatch(r"[a-z0-9:/. -]+", Task(0, payload).name), Task(0, payload).name


class Evil:
    def __reduce__(self) -> Any:
        return print, ("code ran",)


@pytest.mark.parametrize(
    "document",
    [
        {"is": "Popen", "args": "true"},
        {"is": "Reason"},
        {"enum": "EmbedStage", "name": "x"},
        {"is": "Stat", "size": 1},
        {"is": "Stat", "size": 1, "version": "", "more": 1},
        {"array": "|O", "shape": [1], "base64": ""},
        {"array_file": "../../secret"},
        {"out": "../other-run/pool"},
        {"pickle": pickle.dumps(Evil()).hex()},
        Documents(OUT).encode(EmbedStage("s3://elsewhere/pool", None)),
        Documents(OUT).encode(IndexStage("s3://elsewhere/index", POOL, 0.1)),
        Documents(OUT).encode(PackStage("s3://elsewhere", POOL, {})),
        Documents("/").encode(EmbedStage("/etc", None)) | {"store_url": "/etc"},
        Documents(OUT).encode(EmbedTask(SOURCE, 3, "abc")) | {"identity": "../../x"},
        Documents(OUT).encode(PieceTask(3, {}, "abc")) | {"identity": "/x"},
        Documents(OUT).encode(PieceTask(3, {}, "abc")) | {"identity": None},
    ],
    ids=str,
)
def test_refuses_what_it_did_not_write(document: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnusableInput):
        Documents(OUT).decode(document)
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "value", [object(), Evil(), np.array([Evil()], object), {1, 2}, b"bytes"], ids=lambda value: type(value).__name__
)
def test_writes_nothing_else(value: Any) -> None:
    with pytest.raises(TypeError):
        Documents(OUT).encode(value)


def test_secrets_do_not_stand_in_out() -> None:
    signed = "https://host/a.tar?X-Amz-Signature=12"
    source = dataclasses.replace(SOURCE, url=signed)
    for value in (EmbedTask(source, 3, "abc"), PackStage(OUT, POOL, {"a": signed})):
        with pytest.raises(InputError, match=r"secrets of https://host/a\.tar would stand in OUT"):
            Documents(OUT).encode(value)
