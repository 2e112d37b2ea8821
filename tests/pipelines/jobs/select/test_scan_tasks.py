"""A part of the pool that cannot be read: no selection leaves its rows out, and what the others gave is kept."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from curator.errors import CuratorError
from curator.io import storage
from curator.selection import Rules
from curator_pipelines.executors import Executor, LocalExecutor
from curator_pipelines.jobs.select.choose_search import exact_search
from curator_pipelines.run import RunDirectory

Make = Callable[[int], Executor]


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.slow)])
def make(request: pytest.FixtureRequest, make_ray: Make) -> Make:
    return make_ray if request.param == "ray" else lambda workers: LocalExecutor(workers=workers)


def test_a_part_that_cannot_be_read(make: Make, reference: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(reference, out)
    pool = RunDirectory(str(out)).pool.snapshot()
    centroids = np.concatenate([rows for _, rows in pool.parts()])[:5].astype(np.float32)
    rules = Rules(budget=12)
    told: Counter[str] = Counter()

    def choose(workers: int = 2) -> list[int]:
        told.clear()
        (selection,) = exact_search(pool, make(workers), told.update)([centroids], [rules])
        return np.asarray(selection.ids).tolist()

    expected = choose(1)
    array, hidden = storage.local_path(pool.array_url(1)), tmp_path / "hidden"
    array.rename(hidden)

    with pytest.raises(CuratorError, match=r"search of parts 1 to 1 could not be done.*nothing is chosen") as caught:
        choose()
    assert caught.value.exit_code == 1
    assert (out / "unfinished_scan.npz").exists()
    lengths = pool.lengths()

    hidden.rename(array)
    assert choose() == expected

    # Only that part was still to be read.
    assert told["rows"] == lengths[1]
    assert not (out / "unfinished_scan.npz").exists()
