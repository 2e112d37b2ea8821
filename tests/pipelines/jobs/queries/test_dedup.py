from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobs_for_tests import copy_tree, table
from PIL import Image

from curator.search.scoring import exact_scores
from curator.store.part_store import PartStore
from curator.types import join_id
from curator_pipelines.config.queries import DedupConfig
from curator_pipelines.config.select import build
from curator_pipelines.jobs.queries import dedup
from curator_pipelines.jobs.queries.dedup_sheet import pairs_below
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
    assert f"deny list   {result.deny}" in result.to_text() and f"sheet       {result.sheet}" in result.to_text()
    assert result.sheet == f"{out}/dedup/contact_sheet.jpg"
    with Image.open(result.sheet) as sheet:
        assert sheet.format == "JPEG" and sheet.width > 1000
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


def test_the_nearest_pairs_that_both_stay(reference: Path) -> None:
    store = PartStore(str(reference / "pool"))
    ids = store.ids()
    rows = np.concatenate([vectors for _, vectors in store.parts()])
    unit = (rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)).astype(np.float32)
    listed = ids[::7]
    stay = np.flatnonzero(~np.isin(ids, listed)).tolist()
    pairs = [
        (int(ids[row]), int(ids[match]), float(exact_scores(rows[row][None], unit[match][None])[0]))
        for row in stay
        for match in stay
        if match < row
    ]
    values = sorted((value for _, _, value in pairs), reverse=True)
    threshold = (values[40] + values[39]) / 2
    expected = [pair for pair in pairs if threshold - 0.02 <= pair[2] < threshold]
    expected.sort(key=lambda pair: (-pair[2], pair[0]))
    assert pairs_below(store, listed, threshold) == expected[:24] and expected
