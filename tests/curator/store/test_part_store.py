from __future__ import annotations

import glob
import hashlib
import json
import pickle
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator.errors import CuratorError, InputError, Reason
from curator.io import parquet, schemas, storage
from curator.io.storage import Stat
from curator.sources.find import find_sources
from curator.sources.remarks import Remark, Remarks
from curator.sources.source import Source
from curator.store import part_reader
from curator.store.changes import find_changes
from curator.store.done_mark import DoneMark
from curator.store.ledger import write_quarantine
from curator.store.part_store import PartStore, identity_hash, unversioned
from curator.types import EmbeddingBlock, LedgerLine, Member, SampleRow, join_id


def source(name: str, size: int = 10, version: str = "v1") -> Source:
    return Source("tar", f"https://host/{name}.tar?Signature=x", f"https://host/{name}.tar", Stat(size, version))


def block(part: int, count: int, dim: int = 4) -> EmbeddingBlock:
    rows = [
        SampleRow(
            f"key-{part}-{index}",
            512 + 2048 * index,
            1000 + index,
            f"{index:064x}",
            30,
            20,
            (Member("jpg", 512 + 2048 * index, 1000 + index, b"x"), Member("json", 2048 * index, 5)),
        )
        for index in range(count)
    ]
    vectors = np.arange(count * dim, dtype=np.float16).reshape(count, dim) + 100 * part
    return EmbeddingBlock(rows, vectors)


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> PartStore:
    root = str(tmp_path) if request.param == "local" else request.getfixturevalue("s3_bucket")
    return PartStore(storage.join(root, "run", "pool"))


def commit(store: PartStore, part: int, count: int, identity: str = "0123456789abcdef") -> EmbeddingBlock:
    stored = block(part, count)
    store.commit(part, identity, stored, f"shard-{part}.tar", DoneMark(count, count, 4, {}, []))
    return stored


def test_nothing_yet(store):
    assert store.registered() == []
    assert store.finished() == {}
    assert list(store.parts()) == []
    assert store.count() == 0
    assert not find_changes(store.registered(), [source("a")])


def test_parts_are_numbered_in_first_seen_order_and_appended(store):
    parts = store.register([source("b"), source("a")])
    assert [(part.part, part.url) for part in parts] == [(0, "https://host/b.tar"), (1, "https://host/a.tar")]
    more = store.register([source("c"), source("a"), source("b")])
    assert [part.url[-5:] for part in more] == ["b.tar", "a.tar", "c.tar"]
    assert store.registered() == more
    assert more[2].kind == "tar"
    assert more[2].stat == Stat(10, "v1")


def test_secrets_are_not_stored(store):
    store.register([source("a")])
    assert b"Signature" not in storage.read_bytes(storage.join(store.url, "parts.parquet"))


def test_a_removed_or_changed_source_is_refused_with_the_difference(store):
    store.register([source("a"), source("b")])
    with pytest.raises(InputError, match=r"b\.tar was used before and is not given now"):
        store.register([source("a"), source("c")])
    with pytest.raises(InputError, match=r"a\.tar changed: it had 10 bytes \(version v1\), now 11 \(version v1\)"):
        store.register([source("a", size=11), source("b")])
    with pytest.raises(InputError, match="version v2"):
        store.register([source("a"), source("b", version="v2")])
    assert [part.url[-5:] for part in store.registered()] == ["a.tar", "b.tar"]


def test_a_committed_part(store):
    stored = commit(store, 3, 5)
    assert store.finished() == {3: "0123456789abcdef"}
    vectors = store.vectors(3)
    assert vectors.dtype == np.float16
    assert np.array_equal(vectors, stored.vectors)
    rows = store.metadata(3).to_pylist()
    assert [row["image_path"] for row in rows] == [row.key for row in stored.rows]
    assert rows[2] == {
        "image_path": "key-3-2",
        "shard": "shard-3.tar",
        "part": 3,
        "index": 2,
        "offset": 4608,
        "size": 1002,
        "sha256": f"{2:064x}",
        "sample_sha256": None,
        "width": 30,
        "height": 20,
        "members": [
            {"ext": "jpg", "offset": 4608, "size": 1002},
            {"ext": "json", "offset": 4096, "size": 5},
        ],
    }


def test_the_same_part_gives_the_same_bytes(store):
    commit(store, 0, 5)
    before = {name: storage.read_bytes(storage.join(store.url, name)) for name, _ in storage.list_tree(store.url)}
    commit(store, 0, 5)
    after = {name: storage.read_bytes(storage.join(store.url, name)) for name, _ in storage.list_tree(store.url)}
    assert before == after
    assert len(before) == 3


def test_the_done_mark_goes_last(store, monkeypatch):
    written = []
    write_file = storage.write_file

    @contextmanager
    def noted(url):
        with write_file(url) as path:
            yield path
        written.append(url)

    monkeypatch.setattr(storage, "write_file", noted)
    commit(store, 0, 2)
    assert [url.removeprefix(store.url + "/").partition("/")[0] for url in written] == ["img_emb", "metadata", "done"]


def test_the_mark_holds_the_hashes_of_both_files(store):
    commit(store, 0, 2)
    mark = store.done_mark(0, "0123456789abcdef")
    for url, made in ((store.array_url(0), mark.array), (store.metadata_url(0), mark.metadata)):
        data = storage.read_bytes(url)
        assert made == (len(data), hashlib.sha256(data).hexdigest())
    assert mark.has_sizes(store.file_sizes()[0, "0123456789abcdef"])
    storage.write_bytes(store.metadata_url(0), b"")
    assert not mark.has_sizes(store.file_sizes()[0, "0123456789abcdef"])


def test_a_late_worker_of_an_old_run_writes_beside_what_is_there(store):
    (part,) = store.register([source("a")], {"encoder": "new"})
    stored = commit(store, 0, 3, part.identity)
    for late in ("0" * 16, "f" * 16):
        store.commit(0, late, block(7, 9), "shard-0.tar", DoneMark(9, 9, 4, {}, []))
    for reader in (PartStore(store.url), store.snapshot()):
        assert reader.finished() == {0: part.identity}
        assert reader.count() == 3
        assert np.array_equal(reader.vectors(0), stored.vectors)
        assert reader.metadata(0).num_rows == 3
    assert store.keep_marks({0: part.identity}) == {0: part.identity}
    assert len(storage.list_names(storage.join(store.url, "done"))) == 1


def test_other_tools_read_the_folder_in_the_order_of_names(tmp_path):
    store = PartStore(str(tmp_path))
    # Identities whose order is not that of the parts.
    for part, identity in enumerate(("f" * 16, "0" * 16, "8" * 16)):
        commit(store, part, part + 1, identity)
    # As embedding_reader, autofaiss and clip-retrieval do: both folders sorted by name, files paired by their place.
    arrays = sorted(glob.glob(f"{tmp_path}/img_emb/*.npy"))
    tables = sorted(glob.glob(f"{tmp_path}/metadata/*.parquet"))
    assert [len(np.load(path, mmap_mode="r")) for path in arrays] == [1, 2, 3]
    assert [pq.read_table(path)["image_path"].to_pylist()[-1] for path in tables] == ["key-0-0", "key-1-1", "key-2-2"]
    # And as this project reads a folder without parts.parquet.
    ready = find_sources([str(tmp_path)], "pool", folders=False)
    assert [(found.url, found.metadata) for found in ready] == list(zip(arrays, tables, strict=True))


def test_what_is_written_for_some_parts_is_all_that_a_worker_reads(store):
    commit(store, 0, 2)
    files = pickle.loads(pickle.dumps(store.files()))
    commit(store, 1, 3)
    assert files.finished() == {0: "0123456789abcdef"}
    assert len(files.vectors(0)) == 2
    with pytest.raises(CuratorError, match="has no finished part 1: run again"):
        files.vectors(1)


def test_an_empty_part(store):
    commit(store, 0, 0)
    assert store.vectors(0).shape == (0, 4)
    assert store.metadata(0).num_rows == 0
    assert store.count() == 0


def test_parts_stream_by_number_and_count(store):
    for part, count in ((2, 3), (0, 2), (1, 4)):
        commit(store, part, count)
    assert [(part, len(vectors)) for part, vectors in store.parts()] == [(0, 2), (1, 4), (2, 3)]
    assert store.count() == 9


def test_counting_reads_no_vectors(store, monkeypatch):
    commit(store, 0, 7)
    monkeypatch.setattr(PartStore, "vectors", lambda self, part: pytest.fail("read a whole array"))
    assert store.count() == 7


def test_rows_come_in_the_order_asked_for(store, monkeypatch):
    for part in range(3):
        commit(store, part, 6)
    read = []
    metadata = PartStore.metadata
    monkeypatch.setattr(PartStore, "metadata", lambda self, part, c: (read.append(part), metadata(self, part, c))[1])
    ids = np.array([join_id(2, 5), join_id(0, 3), join_id(2, 0), join_id(0, 0), join_id(2, 5)])
    table = store.rows(ids, ["image_path", "members"])
    assert table.column_names == ["id", "image_path", "members"]
    assert table["id"].to_pylist() == ids.tolist()
    assert table["image_path"].to_pylist() == ["key-2-5", "key-0-3", "key-2-0", "key-0-0", "key-2-5"]
    assert [members[0]["size"] for members in table["members"].to_pylist()] == [1005, 1003, 1000, 1000, 1005]
    assert read == [0, 2]


def test_no_rows(store):
    table = store.rows(np.array([], np.int64), ["image_path", "size"])
    assert table.num_rows == 0
    assert table.column_names == ["id", "image_path", "size"]


def test_a_done_mark_survives_its_file(store):
    lines = [
        LedgerLine("s.tar", "k/é", 512, "decode", Reason.DECODE_ERROR, "broken"),
        LedgerLine("s.tar", "", 0, "read", Reason.BAD_HEADER, "x"),
    ]
    remarks = Remarks()
    remarks.add(Remark.LINKS, "k/é.txt of s.tar", 3)
    mark = DoneMark(7, 5, 4, {"read": 0.5, "encode": 1.25}, lines, remarks)
    store.mark(1, "abc", mark)
    found = store.done_mark(1, "abc")
    assert found == mark
    assert found.remarks.counts == {Remark.LINKS: 3}
    assert found.ledger[0].reason is Reason.DECODE_ERROR


def test_a_done_mark_of_another_version_is_refused(store):
    store.mark(1, "abc", DoneMark(0, 0, 4, {}, []))
    url = store.done_url(1, "abc")
    fields = json.loads(storage.read_bytes(url))
    storage.write_bytes(url, json.dumps(fields | {"version": 99}).encode())
    with pytest.raises(InputError, match="format version 99"):
        store.done_mark(1, "abc")


def test_a_damaged_array_is_named(tmp_path):
    store = PartStore(str(tmp_path))
    commit(store, 0, 3)
    storage.write_bytes(store.array_url(0), b"\x93NUMPY")
    with pytest.raises(CuratorError, match=r"img_emb_00000000-0123456789abcdef\.npy is damaged"):
        store.vectors(0)


def test_identity_covers_the_source_and_the_encoding():
    base = ("s.tar", Stat(10, "v"), {"encoder": "e", "precision": "fp32"})
    others = [
        ("t.tar", *base[1:]),
        (base[0], Stat(11, "v"), base[2]),
        (base[0], Stat(10, "w"), base[2]),
        (*base[:2], base[2] | {"precision": "bf16"}),
    ]
    hashes = [identity_hash(*arguments) for arguments in (base, *others)]
    assert len(set(hashes)) == 5
    assert all(len(value) == 16 for value in hashes)
    assert identity_hash(*base) == identity_hash("s.tar", Stat(10, "v"), {"precision": "fp32", "encoder": "e"})


def test_vectors_are_stored_in_c_order(tmp_path):
    store = PartStore(str(tmp_path))
    stored = block(0, 6)
    turned = replace(stored, vectors=np.asfortranarray(stored.vectors))
    store.commit(0, "x", turned, "s.tar", DoneMark(6, 6, 4, {}, []))
    assert not np.isfortran(store.vectors(0))
    assert np.array_equal(store.vectors(0), stored.vectors)
    assert store.metadata(0).schema.equals(schemas.METADATA)


def test_sources_without_a_version_are_told():
    states = {name: source(name, version=version).stat for name, version in (("a", "v"), ("b", ""), ("c", ""))}
    assert unversioned({"a": states["a"]}) == ""
    warning = unversioned(states)
    assert warning.startswith("2 of 3 sources have no version (no etag, no date), such as b: ")


def test_a_ledger_line_holds_no_secret(tmp_path):
    line = LedgerLine("/a.tar", "k", 0, "read", Reason.TRUNCATED, "cannot be read: 403 at https://me:pw@h/a?jwt=S: no")
    stored = DoneMark(1, 0, 4, {}, [line]).to_json()
    assert DoneMark.from_json(stored, "x").ledger[0].detail == "cannot be read: 403 at https://h/a: no"
    write_quarantine(str(tmp_path), [line])
    (row,) = pq.read_table(tmp_path / "quarantine.parquet").to_pylist()
    assert row["detail"] == "cannot be read: 403 at https://h/a: no"


def test_many_rows_come_in_chunks_that_hold_their_texts(tmp_path, monkeypatch):
    monkeypatch.setattr(part_reader, "ROWS_AT_ONCE", 4)
    store = PartStore(str(tmp_path / "pool"))
    rows = [SampleRow(f"key-{row}", 0, 1, "0" * 64, 1, 1, (Member("jpg", 0, 1),)) for row in range(10)]
    block = EmbeddingBlock(rows, np.ones((10, 2), np.float16))
    store.commit(0, "0" * 16, block, "/a.tar", DoneMark(10, 10, 2, {}, []))
    ids = np.array([9, 0, 5, 5, 3, 2, 1, 8, 7])
    table = store.rows(ids, ["image_path", "sha256", "members"])
    assert table["image_path"].to_pylist() == [f"key-{row}" for row in ids]
    assert [len(chunk) for chunk in table["image_path"].chunks] == [4, 4, 1]
    assert table.schema.field("image_path").type == pa.string()


@pytest.mark.parametrize("rows", [0, 3, 4, 11])
def test_blocks_leave_the_files_that_one_block_leaves(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROW_GROUP", 4)
    samples = [SampleRow(f"key-{row}", row, 1, "0" * 64, 1, 1, (Member("jpg", row, 1),)) for row in range(rows)]
    vectors = np.random.default_rng(0).standard_normal((rows, 5)).astype(np.float16)
    mark = DoneMark(rows, rows, 5, {}, [])
    whole, pieces = PartStore(str(tmp_path / "whole")), PartStore(str(tmp_path / "pieces"))
    one = whole.commit(0, "0" * 16, EmbeddingBlock(samples, vectors), "/a.tar", mark)
    with pieces.writer(0, "0" * 16, "/a.tar", 5) as writer:
        writer.add(EmbeddingBlock(samples[:2], vectors[:2]))
        writer.restart()
        for start, end in ((0, 1), (1, 1), (1, 7), (7, 11)):
            writer.add(EmbeddingBlock(samples[start:end], vectors[start:end]))
        assert not pieces.finished()
        assert writer.finish(mark) == one
    assert np.array_equal(pieces.vectors(0), vectors)
    assert pieces.metadata(0)["index"].to_pylist() == list(range(rows))
    assert pq.ParquetFile(pieces.metadata_url(0)).metadata.num_row_groups == max(1, -(-rows // 4))
    # The array is the one that numpy writes.
    np.save(tmp_path / "numpy.npy", vectors)
    assert Path(pieces.array_url(0)).read_bytes() == (tmp_path / "numpy.npy").read_bytes()


def test_what_fails_on_the_way_leaves_nothing(tmp_path):
    store = PartStore(str(tmp_path / "pool"))
    with suppress(RuntimeError), store.writer(0, "0" * 16, "/a.tar", 5) as writer:
        writer.add(EmbeddingBlock([], np.empty((0, 5), np.float16)))
        raise RuntimeError
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_file_that_cannot_be_closed_leaves_nothing(tmp_path, monkeypatch):
    def fail(self):
        raise OSError(28, "No space left on device")

    store = PartStore(str(tmp_path / "pool"))
    monkeypatch.setattr(parquet.TableWriter, "close", fail)
    with pytest.raises(OSError, match="No space"), store.writer(0, "0" * 16, "/a.tar", 5):
        pass
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
