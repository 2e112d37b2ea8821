from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobs_for_tests import copy_tree, table

from curator.store.part_store import PartStore
from curator.types import join_id
from curator_pipelines.config.queries import DedupConfig
from curator_pipelines.config.select import build
from curator_pipelines.jobs.queries import dedup
from curator_pipelines.run.progress import Reporter


def test_its_list_is_a_deny_list(
    reference: Path, settings: dict[str, Any], run: Callable[..., Any], tmp_path: Path
) -> None:
    out = str(tmp_path / "run")
    copy_tree(str(reference), out)

    result = dedup.run_dedup(build(DedupConfig, {"run": out, "dedup": 0.9999, "clusters": 3}), Reporter())

    rows = table(out, "dedup", "deny.parquet")
    copies = [row for row in rows if row["reason"] == "duplicate"]
    assert [(row["shard"][-10:], row["key"], row["match_shard"][-10:]) for row in copies] == [
        ("pool-3.tar", "0001", "pool-1.tar")
    ]
    assert (result.rows, result.copies, result.near) == (59, 1, len(rows) - 1)
    assert f"deny list   {result.deny}" in result.to_text()
    run(**settings | {"out": out, "deny": result.deny, "budget": "1000"})
    skipped = table(out, "selection", "skipped.parquet")
    assert {row["id"] for row in skipped} == {row["id"] for row in rows}
    assert {row["reason"] for row in skipped} == {"denied"}


@pytest.mark.parametrize("at_once", [1 << 25, 7])
def test_copies_wherever_they_are(
    at_once: int, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dedup, "HASHES_AT_ONCE", at_once)
    store = PartStore(str(reference / "pool"))
    ids, firsts = dedup.find_copies(store, 59)
    hashes: dict[str, int] = {}
    expected = []
    for part in range(4):
        for index, sha in enumerate(store.metadata(part)["sha256"].to_pylist()):
            row = join_id(part, index)
            if hashes.setdefault(sha, row) != row:
                expected.append((row, hashes[sha]))
    assert list(zip(ids.tolist(), firsts.tolist(), strict=True)) == expected
    assert ids.dtype == firsts.dtype == np.int64
    assert len(expected) == 1
