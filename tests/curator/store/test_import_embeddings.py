"""Ready embeddings become parts, in blocks whose size does not follow the file's."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator.errors import CuratorError
from curator.io import storage
from curator.sources.find import find_sources
from curator.store import import_embeddings, ready_blocks
from curator.store.import_embeddings import import_part
from curator.store.part_store import PartStore

IDENTITY = "0123456789abcdef"


def write(folder, rows, columns=None):
    """One array beside its metadata, in the layout of clip-retrieval."""
    for name in ("img_emb", "metadata"):
        (Path(folder) / name).mkdir(parents=True)
    np.save(Path(folder) / "img_emb" / "img_emb_0.npy", rows)
    keys = {"image_path": [f"k{row}" for row in range(len(rows))]}
    pq.write_table(pa.table(keys | (columns or {})), Path(folder) / "metadata" / "metadata_0.parquet")
    (source,) = find_sources([str(folder)], "pool", folders=False)
    return source


@pytest.mark.parametrize("block", [1, 100, 1 << 20])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_blocks_give_what_one_call_gives(block, dtype, tmp_path, monkeypatch):
    monkeypatch.setattr(ready_blocks, "BLOCK_BYTES", block)
    rows = np.random.default_rng(0).normal(size=(50, 8)).astype(dtype)
    rows[[3, 20]], rows[41, 2] = 0, np.nan
    store = PartStore(str(tmp_path / "pool"))

    mark = import_part(write(tmp_path / "ready", rows, {"caption": ["x"] * 50}), store, 7, IDENTITY)

    good = [row for row in range(50) if row not in (3, 20, 41)]
    wide = rows[good].astype(np.float64)
    vectors = np.load(tmp_path / "pool" / "img_emb" / f"img_emb_00000007-{IDENTITY}.npy")
    assert vectors.dtype == np.float16
    unit = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)
    assert np.array_equal(vectors, unit.astype(np.float16))
    table = pq.read_table(tmp_path / "pool" / "metadata" / f"metadata_00000007-{IDENTITY}.parquet")
    assert table["image_path"].to_pylist() == [f"k{row}" for row in good]
    assert table["index"].to_pylist() == list(range(47))
    assert set(table["part"].to_pylist()) == {7}
    assert [(line.key, line.offset) for line in mark.ledger] == [("k3", 3), ("k20", 20), ("k41", 41)]
    assert [line.detail[:6] for line in mark.ledger] == ["row 3 ", "row 20", "row 41"]
    assert (mark.seen, mark.embedded, mark.dim) == (50, 47, 8)
    assert store.done_mark(7, IDENTITY) == mark


def test_remote_files(s3_bucket, tmp_path):
    rows = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float16)
    write(tmp_path / "ready", rows)
    for path in sorted((tmp_path / "ready").rglob("*_0.*")):
        name = path.relative_to(tmp_path / "ready").as_posix()
        storage.write_bytes(f"{s3_bucket}/ready/{name}", path.read_bytes())
    (source,) = find_sources([f"{s3_bucket}/ready"], "pool", folders=False)
    store = PartStore(f"{s3_bucket}/run/pool")

    import_part(source, store, 0, IDENTITY)

    assert np.allclose(np.linalg.norm(store.vectors(0).astype(np.float32), axis=1), 1, atol=2e-3)
    assert store.metadata(0)["image_path"].to_pylist() == [f"k{row}" for row in range(50)]


@pytest.mark.parametrize("what", ["rows", "cut", "changed"])
def test_what_does_not_fit_leaves_no_part(what, tmp_path, monkeypatch):
    rows = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float16)
    source = write(tmp_path / "ready", rows)
    array = tmp_path / "ready" / "img_emb" / "img_emb_0.npy"
    if what == "rows":
        np.save(array, rows[:49])
    elif what == "cut":
        array.write_bytes(array.read_bytes()[:-10])
    if what in ("rows", "cut"):
        (source,) = find_sources([str(tmp_path / "ready")], "pool", folders=False)
    else:
        unit_rows = import_embeddings._unit_rows

        def slow(vectors):
            np.save(array, rows + 1)
            return unit_rows(vectors)

        monkeypatch.setattr(import_embeddings, "_unit_rows", slow)

    with pytest.raises(CuratorError, match=r"49 rows and|is not a whole npy array|changed since the run began"):
        import_part(source, PartStore(str(tmp_path / "pool")), 0, IDENTITY)

    assert [path for path in (tmp_path / "pool").rglob("*") if path.is_file()] == []


# In a process of its own: what a fixed block takes is the same for both files.
MEASURED = """
import json, sys
from curator.sources import find_sources
from curator.store import PartStore, import_part
peaks = []
for folder in sys.argv[1:]:
    (source,) = find_sources([folder], "pool", folders=False)
    import_part(source, PartStore(folder + "/run/pool"), 0, "0" * 16)
    # Not ru_maxrss, which a process inherits from the one that started it.
    peaks.append(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")))
print(json.dumps(peaks))
"""


def test_memory_does_not_follow_the_file(tmp_path):
    sizes = (100_000, 300_000)
    for rows in sizes:
        captions = {"caption": [f"{row:0200d}" for row in range(rows)]}
        write(tmp_path / str(rows), np.ones((rows, 256), np.float16), captions)

    folders = [str(tmp_path / str(rows)) for rows in sizes]
    command = [sys.executable, "-c", MEASURED, *folders]
    small, large = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    # Kilobytes. The larger array has 154 MB and its metadata 60 MB; each was held several times over once.
    assert 50_000 < small <= large < small + 80_000
