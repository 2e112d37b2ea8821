import hashlib

import numpy as np
import pytest

from curator.io import parquet
from curator.store import row_reader as module
from curator.store.done_mark import DoneMark
from curator.store.part_store import PartStore
from curator.store.row_reader import RowReader
from curator.types import EmbeddingBlock, SampleRow


def sha(part, index):
    return hashlib.sha256(f"{part} {index}".encode()).hexdigest()


def fill(url):
    store, arrays = PartStore(url), {}
    for part, count in ((0, 5), (1, 0), (3, 300)):
        arrays[part] = np.random.default_rng(part).standard_normal((count, 7)).astype(np.float16)
        rows = [SampleRow(str(i), 0, 1, sha(part, i) if i else None, 1, 1, ()) for i in range(count)]
        store.commit(part, "0" * 16, EmbeddingBlock(rows, arrays[part]), "shard", DoneMark(count, count, 7, {}, []))
    return store, arrays


@pytest.mark.parametrize("place", ["local", "s3", "s3, in small reads"])
def test_single_rows(place, tmp_path, request, monkeypatch):
    if "small" in place:
        monkeypatch.setattr(module, "MAX_GAP", 20)
        monkeypatch.setattr(module, "MAX_READ", 100)
    url = str(tmp_path) if place == "local" else request.getfixturevalue("s3_bucket")
    store, arrays = fill(f"{url}/pool")
    gather = RowReader(store)
    ids = np.array([3 << 32 | 299, 4, 3 << 32, 0, 4])
    wanted = np.stack([arrays[3][299], arrays[0][4], arrays[3][0], arrays[0][0], arrays[0][4]])
    for _ in range(2):
        found = gather.vectors(ids)
        assert found.dtype == np.float16
        assert np.array_equal(found, wanted)
    some = np.random.default_rng(0).choice(300, 100)
    assert np.array_equal(gather.vectors(some + (3 << 32)), arrays[3][some])
    assert gather.vectors(ids[:0]).shape == (0, 7)
    assert gather.hashes(ids) == [sha(3, 299), sha(0, 4), None, None, sha(0, 4)]


def test_hashes_cost_the_row_groups_that_hold_them_and_bounded_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROW_GROUP", 50)
    store, _ = fill(f"{tmp_path}/pool")
    read, groups = [], parquet.read_group

    def counted(url, footer, group, columns):
        read.append((url, group))
        return groups(url, footer, group, columns)

    monkeypatch.setattr(parquet, "read_group", counted)
    one_group = 50 * (64 + 4)
    monkeypatch.setattr(module, "HASH_BYTES", 2 * one_group + 100)
    reader = RowReader(store)
    assert reader.hashes(np.array([3 << 32 | 7, 3 << 32 | 120, 3 << 32 | 8])) == [sha(3, 7), sha(3, 120), sha(3, 8)]
    assert [group for _, group in read] == [0, 2]
    assert reader.hashes(np.array([3 << 32 | 49, 3 << 32 | 100])) == [sha(3, 49), sha(3, 100)]
    assert len(read) == 2
    rows = np.arange(300)
    assert reader.hashes(rows + (3 << 32)) == [sha(3, row) if row else None for row in rows.tolist()]
    assert sum(column.nbytes for column in reader._hashes.values()) <= module.HASH_BYTES
    # Of the two that were remembered one was forgotten again before its turn came.
    assert len(read) == 7
