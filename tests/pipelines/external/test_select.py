"""The whole command by an external worker: the files of a local run, bad samples and all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from external_for_tests import Start

import curator
from benchmarks.run_files import Out
from curator.index import IndexStore, merge, store

ROWS, DIM = 60, 8


def write_ready(folder: Path, seed: int) -> str:
    """Three arrays in clip-retrieval's layout; one row of the first has no direction."""
    (folder / "img_emb").mkdir(parents=True)
    (folder / "metadata").mkdir()
    chance = np.random.default_rng(seed)
    for number in range(3):
        array = chance.standard_normal((ROWS, DIM)).astype(np.float16)
        array[5] *= number > 0
        np.save(folder / "img_emb" / f"img_emb_{number}.npy", array)
        keys = [f"{number}-{row}" for row in range(ROWS)]
        pq.write_table(pa.table({"image_path": keys}), folder / "metadata" / f"metadata_{number}.parquet")
    return str(folder)


@pytest.mark.parametrize("search", ["exact", "ivf"])
def test_the_files_are_those_of_a_local_run(
    worker_of: Start, tmp_path: Path, search: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of three pieces of the index two are put together.
    monkeypatch.setattr(store, "PIECE_BYTES", 1)
    monkeypatch.setattr(merge, "MOST_RUNS", 2)
    target, pool = write_ready(tmp_path / "target", 0), write_ready(tmp_path / "pool", 1)
    settings = {"target": target, "pool": pool, "budget": 20, "clusters": 3, "search": search, "manifest_only": True}
    local, other = str(tmp_path / "local"), str(tmp_path / "run")
    curator.select(out=local, report=False, **settings)

    worker_of(other, "host-1", "--device", "cpu")
    curator.select(out=other, report=False, workers="external", **settings)

    ours, theirs = Out.at(other).content(), Out.at(local).content()
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []
    assert pq.read_table(tmp_path / "run" / "quarantine.parquet").num_rows == 2
    if search == "ivf":
        assert len(IndexStore(f"{other}/index").merges()) == 1
