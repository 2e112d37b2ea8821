"""In which order the sources of a set are embedded, and what is made of machines that calculate otherwise."""

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobs_for_tests import CountsTasks, assert_same_bytes, table

from curator.errors import CuratorError


def test_the_largest_shard_is_the_first_and_the_parts_keep_the_order_given(
    counted: Callable[..., CountsTasks], settings: dict[str, Any], reference: Path, tmp_path: Path
) -> None:
    out = str(tmp_path / "run")
    given = [Path(url).name for url in settings["pool"]]
    by_size = sorted(given, key=lambda name: -(Path(settings["pool"][0]).parent / name).stat().st_size)
    assert by_size[0] != given[0]

    assert counted(out=out, **settings).embedded == ["target", *by_size]
    assert [row["url"].rpartition("/")[2] for row in table(out, "pool", "parts.parquet")] == given
    assert_same_bytes(out, str(reference))


def as_another_machine(out: Path, disturb: Callable[[np.ndarray], np.ndarray]) -> None:
    """Let the pool's vectors of the fixed images be those of another machine, and one part not be finished."""
    (file,) = (out / "pool" / "fixed_batch").iterdir()
    record = json.loads(file.read_text())
    vectors = np.frombuffer(base64.b64decode(record["float32"]), "<f4").reshape(record["rows"], -1)
    record |= {"machine": "Abacus", "float32": base64.b64encode(disturb(vectors).tobytes()).decode()}
    file.write_text(json.dumps(record))
    file.rename(file.with_name(f"{file.name.partition('-')[0]}-{'0' * 16}.json"))
    next((out / "pool" / "done").iterdir()).unlink()


def test_parts_of_machines_with_other_bits_are_told(
    run: Callable[..., Any], settings: dict[str, Any], reference: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(reference, tmp_path / "run"))
    as_another_machine(out, lambda vectors: vectors + np.float32(1e-6))

    warnings = run(out=str(out), **settings).warnings

    assert any("differ in the last bits: " in text and "Abacus" in text for text in warnings), warnings


def test_a_machine_that_calculates_wrongly_embeds_nothing(
    run: Callable[..., Any], settings: dict[str, Any], reference: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(reference, tmp_path / "run"))
    as_another_machine(out, lambda vectors: vectors[::-1].copy())
    parts = len(list((out / "pool" / "done").iterdir()))

    with pytest.raises(CuratorError, match="Abacus got for this run: cosine"):
        run(out=str(out), **settings)
    assert len(list((out / "pool" / "done").iterdir())) == parts
