"""Layouts of embeddings (case 10)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from inputs_for_tests import Curator, Ran, chosen_keys, refused

DIM = 16


def unit(count: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def table(count: int, column: str = "image_path") -> pa.Table:
    return pa.table({column: [f"{number:09d}" for number in range(count)], "caption": ["x"] * count})


def write_part(root: Path, array: np.ndarray | None, metadata: pa.Table | None, number: int = 0) -> Path:
    for folder in ("img_emb", "metadata"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    if array is not None:
        np.save(root / "img_emb" / f"img_emb_{number:04d}.npy", array)
    if metadata is not None:
        pq.write_table(metadata, root / "metadata" / f"metadata_{number:04d}.parquet")
    return root


@pytest.fixture
def choose(curator: Curator, tmp_path: Path) -> Callable[[], Ran]:
    """Five rows of the embeddings in `pool`, for ten others."""
    target = write_part(tmp_path / "target", unit(10, 1), table(10))
    where = ("--target", target, "--pool", tmp_path / "pool", "--out", tmp_path / "run")
    return lambda: curator("select", *where, "--budget", 5, "--manifest-only", "--no-report")


KEYS = table(30)["image_path"]
READ = {
    "fp16": (unit(30).astype(np.float16), table(30)),
    "large strings": (unit(30), table(30).set_column(0, "image_path", KEYS.cast(pa.large_string()))),
    "a dictionary": (unit(30), table(30).set_column(0, "image_path", KEYS.dictionary_encode())),
    "numbers": (unit(30), table(30).set_column(0, "image_path", pa.array(range(30)))),
}


@pytest.mark.parametrize("part", READ.values(), ids=READ)
def test_10_layouts_that_are_read(choose: Callable[[], Ran], tmp_path: Path, part: tuple[np.ndarray, pa.Table]) -> None:
    write_part(tmp_path / "pool", *part)
    ran = choose()
    assert ran.code == 0, ran.err
    names = [str(key) for key in part[1]["image_path"].to_pylist()]
    assert len(set(chosen_keys(tmp_path)) & set(names)) == 5


def test_10_an_empty_part_is_no_harm_and_metadata_without_an_array_is_told(
    choose: Callable[[], Ran], tmp_path: Path
) -> None:
    write_part(tmp_path / "pool", unit(20), table(20))
    write_part(tmp_path / "pool", unit(0), table(0), 1)
    write_part(tmp_path / "pool", None, table(9), 2)
    ran = choose()
    assert ran.code == 0, ran.err
    assert "metadata without an array 1" in ran.out + ran.err


BFLOAT16 = (unit(30).view(np.uint32) >> 16).astype(np.uint16).view("V2")
WITHOUT = {
    "float64": (unit(30).astype(np.float64), table(30), "float64 (30, 16); needed are fp16 or fp32"),
    "Fortran order": (np.asfortranarray(unit(30)), table(30), "in Fortran order; needed are fp16 or fp32"),
    "big endian": (unit(30).astype(">f4"), table(30), ">f4 (30, 16); needed are fp16 or fp32"),
    "bfloat16": (BFLOAT16, table(30), "img_emb_0000.npy"),
    "no keys": (unit(30), table(30, "name"), "image_path"),
    "other counts": (unit(30), table(29), "29"),
    "no metadata": (unit(30), None, "has no metadata/metadata_0000.parquet"),
    "no array": (None, table(30), "img_emb"),
}


@pytest.mark.parametrize(("array", "metadata", "told"), WITHOUT.values(), ids=WITHOUT)
def test_10_layouts_that_are_refused_with_what_is_needed(
    choose: Callable[[], Ran], tmp_path: Path, array: np.ndarray | None, metadata: pa.Table | None, told: str
) -> None:
    write_part(tmp_path / "pool", array, metadata)
    refused(choose(), told)
