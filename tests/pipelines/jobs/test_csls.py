"""`--selector csls` in a run: any executor, killed workers, and the stored space of the pool."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobs_for_tests import DyingScanStage, assert_same_bytes, table

from curator_pipelines.executors import Executor, InProcessExecutor
from curator_pipelines.jobs.queries.verify_run import verify
from curator_pipelines.jobs.select import choose_search
from curator_pipelines.run.progress import Reporter

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def by_csls(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of the reference run, with another selector, and a filter that refuses rows."""
    return settings | {"selector": "csls", "clusters": None, "dedup": 0.9999}


@pytest.fixture(scope="module")
def chosen_by_csls(run_on: Run, by_csls: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, in process; read only."""
    out = tmp_path_factory.mktemp("csls") / "run"
    run_on(InProcessExecutor(), out=str(out), **by_csls)
    return out


def spaces(out: Path) -> list[Path]:
    return sorted((out / "selection").glob("space-*.npy"))


def test_a_run(chosen_by_csls: Path) -> None:
    rows = table(str(chosen_by_csls), "selection", "selected.parquet")
    assert len(rows) == 21
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    assert {row["round"] for row in rows} == {None}
    assert all(row["centroid"] is not None for row in rows)
    assert not verify(str(chosen_by_csls), Reporter()).differences
    (space,) = spaces(chosen_by_csls)
    assert np.load(space).dtype == np.float32


@pytest.mark.slow
def test_two_workers_of_which_one_dies(
    run_on: Run, by_csls: dict[str, Any], chosen_by_csls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose_search, "ScanStage", DyingScanStage)
    run_on(None, out=str(tmp_path / "run"), workers=2, **by_csls)
    assert_same_bytes(str(tmp_path / "run"), str(chosen_by_csls))


@pytest.mark.slow
def test_on_ray(
    run_on: Run,
    by_csls: dict[str, Any],
    chosen_by_csls: Path,
    tmp_path: Path,
    make_ray: Callable[[int | None], Executor],
) -> None:
    run_on(make_ray(None), out=str(tmp_path / "run"), **by_csls)
    assert_same_bytes(str(tmp_path / "run"), str(chosen_by_csls))


def test_several_targets_share_the_space(run: Run, by_csls: dict[str, Any], tmp_path: Path) -> None:
    folder = by_csls["target"][0]
    run(out=str(tmp_path / "run"), **by_csls | {"target": [f"one={folder}", f"two={folder}"]})
    (one,), (two,) = spaces(tmp_path / "run" / "one"), spaces(tmp_path / "run" / "two")
    assert (one.name, one.read_bytes()) == (two.name, two.read_bytes())


def test_later_selections_use_the_stored_space(run: Run, by_csls: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(out=str(out), **by_csls)
    before = table(str(out), "selection", "selected.parquet")
    (space,) = spaces(out)
    other = np.load(space)
    other[2:] = np.roll(other[2:], 1, axis=0)  # as if another machine had computed it
    np.save(space, other)

    run(out=str(out), **by_csls | {"budget": "20"})

    assert np.array_equal(np.load(space), other)
    after = table(str(out), "selection", "selected.parquet")
    assert [row["score"] for row in after] != [row["score"] for row in before[:20]]
    run(out=str(out), **by_csls | {"redo": "select"})
    assert table(str(out), "selection", "selected.parquet") == before


def test_a_space_of_another_pool_is_not_used_and_another_selector_leaves_none(
    run: Run, by_csls: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run(out=str(out), **by_csls | {"pool": by_csls["pool"][:3]})
    (small,) = spaces(out)
    run(out=str(out), **by_csls)
    (whole,) = spaces(out)
    assert small.name != whole.name
    run(out=str(out), **by_csls | {"selector": "knn"})
    assert spaces(out) == []
