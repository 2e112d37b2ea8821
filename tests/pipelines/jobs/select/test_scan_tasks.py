"""A part of the pool that cannot be read: no selection leaves its rows out, and what the others gave is kept."""

from __future__ import annotations

import errno
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobs_for_tests import table

from curator.errors import CuratorError
from curator.io import npy, storage
from curator.selection import Rules
from curator_pipelines.config import DedupConfig, SearchConfig
from curator_pipelines.executors import Executor, LocalExecutor
from curator_pipelines.jobs.queries.dedup import run_dedup
from curator_pipelines.jobs.queries.search import run_search
from curator_pipelines.jobs.select.choose_search import exact_search
from curator_pipelines.run import Reporter, RunDirectory

Make = Callable[[int], Executor]
Run = Callable[..., Any]


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.slow)])
def make(request: pytest.FixtureRequest, make_ray: Make) -> Make:
    return make_ray if request.param == "ray" else lambda workers: LocalExecutor(workers=workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_part_that_cannot_be_read(make: Make, workers: int, reference: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(reference, out)
    pool = RunDirectory(str(out)).pool.snapshot()
    centroids = np.concatenate([rows for _, rows in pool.parts()])[:5].astype(np.float32)
    rules = Rules(budget=12)
    told: Counter[str] = Counter()
    said: list[str] = []

    def choose(workers: int = workers) -> list[int]:
        told.clear()
        (selection,) = exact_search(pool, make(workers), told.update, said.append)([centroids], [rules])
        return np.asarray(selection.ids).tolist()

    expected = choose(1)
    array, hidden = storage.local_path(pool.array_url(1)), tmp_path / "hidden"
    array.rename(hidden)

    with pytest.raises(CuratorError, match=r"search of parts 1 to 1 could not be done.*nothing is chosen") as caught:
        choose()
    assert caught.value.exit_code == 1
    assert (out / "kept_scan.npz").exists()
    lengths = pool.lengths()

    hidden.rename(array)
    assert choose() == expected

    assert said == [f"{len(lengths) - 1} of the {len(lengths)} parts were searched before, and are not read again"]
    assert told["rows"] == sum(lengths.values())
    # Of so small a pool it is as large as what it spares.
    assert not (out / "kept_scan.npz").exists()


@pytest.fixture
def chosen(reference: Path, tmp_path: Path) -> Path:
    """A run of its own."""
    return Path(shutil.copytree(reference, tmp_path / "run"))


@pytest.fixture
def hiccups(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[str]]:
    """Lets the reading of part 1 fail so many times; gives back the arrays that were asked for."""
    open_rows = npy.open_rows

    def begin(times: int) -> list[str]:
        asked: list[str] = []

        def open_or_fail(url: str) -> Any:
            asked.append(url)
            if "img_emb_00000001-" in url and sum("img_emb_00000001-" in each for each in asked) <= times:
                raise OSError(errno.EIO, "a hiccup")
            return open_rows(url)

        monkeypatch.setattr(npy, "open_rows", open_or_fail)
        return asked

    return begin


@pytest.mark.parametrize(
    "selector", ["simcore", "csls", *(pytest.param(s, marks=pytest.mark.slow) for s in ("knn", "random"))]
)
class TestSelectors:
    """Each of them, in one process: a hiccup changes nothing, and what fails for good leaves nothing out."""

    @pytest.mark.slow
    def test_a_hiccup_changes_nothing(
        self, selector: str, run: Run, settings: dict[str, Any], chosen: Path, tmp_path: Path, hiccups: Any
    ) -> None:
        given = settings | {"selector": selector, "clusters": None, "manifest_only": True, "skip_own": False}
        given = {name: value for name, value in given.items() if value is not None}
        run(out=str(chosen), **given)
        expected = table(str(chosen), "selection", "selected.parquet")
        (chosen / "selection" / "selection.json").unlink()

        hiccups(1)
        run(out=str(chosen), **given)

        assert table(str(chosen), "selection", "selected.parquet") == expected

    def test_one_for_good_is_told_and_nothing_chosen(
        self, selector: str, run: Run, settings: dict[str, Any], chosen: Path, hiccups: Any
    ) -> None:
        given = settings | {"selector": selector, "manifest_only": True, "skip_own": False}
        given = {name: value for name, value in given.items() if name != "clusters"}
        hiccups(1000)
        with pytest.raises(CuratorError, match="a hiccup") as caught:
            run(out=str(chosen), **given)
        assert caught.value.exit_code == 1
        assert not (chosen / "selection" / "selection.json").exists()
        # What a scan found is kept; csls reads a sample of the pool before its scan, and the others have none.
        assert (chosen / "kept_scan.npz").exists() == (selector == "simcore")


def test_a_search_and_a_dedup_read_it_again(chosen: Path, hiccups: Any) -> None:
    questions = [
        lambda: run_search(SearchConfig(run=str(chosen), key="0003", shard="pool-0.tar"), Reporter()).to_text(),
        lambda: run_dedup(DedupConfig(run=str(chosen)), Reporter()).to_json(),
    ]
    expected = [ask() for ask in questions]
    for ask, answer in zip(questions, expected, strict=True):
        hiccups(1)
        assert ask() == answer
        hiccups(1000)
        with pytest.raises(CuratorError, match=r"part 1 of .*pool cannot be read: .*a hiccup"):
            ask()
