"""`curator plan` and `--dry-run`: one answer, before, in the middle and after."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jobs_for_tests import Interrupted, inodes

from curator_pipelines.config.select import SelectConfig, build
from curator_pipelines.executors import InProcessExecutor
from curator_pipelines.jobs.select import calibrate, prepare
from curator_pipelines.jobs.select.plan import Plan
from curator_pipelines.jobs.select.select_run import plan_select
from curator_pipelines.run.progress import Reporter

Run = Callable[..., Any]


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plan]:
    monkeypatch.setattr(prepare, "make_executor", lambda *arguments, **named: InProcessExecutor())

    def make(calibrated: bool = False, **settings: Any) -> Plan:
        return plan_select(build(SelectConfig, settings), Reporter(), calibrated)

    return make


def test_before_the_first_run(plan: Callable[..., Plan], settings: dict[str, Any], data: Path, tmp_path: Path) -> None:
    found = plan(out=str(tmp_path / "run"), **settings)

    target, pool = found.sets
    sizes = [(data / f"pool-{number}.tar").stat().st_size for number in range(4)]
    assert (target.sources, target.finished, target.samples_left, target.exact) == (1, 0, 9, True)
    assert (pool.sources, pool.finished, pool.bytes_left) == (4, 0, sum(sizes))
    assert pool.samples_left == pytest.approx(60, rel=0.4)  # of a look at the first shard
    assert not pool.exact
    assert found.selection == "to do: up to 21 samples, by simcore"
    assert found.shards.startswith("to do: 4 shards of 6 samples, about ")
    assert found.disk is not None
    assert found.disk > (target.disk or 0) + (pool.disk or 0)
    assert found.forecast is None
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"clusters": "auto"}, "9, one for each image; a pass over the pool costs 2 x {rows} x 9 x 256 = "),
        ({"clusters": 3}, "3, by k-means; a pass over the pool costs 2 x {rows} x 3 x 256 = "),
        ({"selector": "knn", "clusters": None}, "none: knn has no centroids"),
    ],
)
def test_what_centroids_cost(
    given: dict[str, Any], told: str, plan: Callable[..., Plan], settings: dict[str, Any], tmp_path: Path
) -> None:
    found = plan(out=str(tmp_path / "run"), **settings | given)
    assert found.clusters.startswith(told.format(rows=round(found.sets[1].samples_left or 0)))
    assert f"centroids   {found.clusters}" in found.to_text()


def test_counts_beside_the_shards(plan: Callable[..., Plan], settings: dict[str, Any], own_data: Path) -> None:
    counts = {f"pool-{number}.tar": count for number, count in enumerate((10, 36, 6, 8))}
    (own_data / "sizes.json").write_text(json.dumps(counts))

    found = plan(out=str(own_data / "run"), **settings | {"pool": [str(own_data / "pool-{0..3}.tar")], "budget": "50%"})

    assert (found.sets[1].samples_left, found.sets[1].exact) == (60, True)
    assert found.selection == "to do: up to 30 samples, by simcore"


@pytest.mark.slow
def test_in_the_middle_and_after(
    plan: Callable[..., Plan], run_on: Run, settings: dict[str, Any], reference: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run_on(Interrupted(), out=str(out), **settings)
    before = inodes(out)

    found = plan(out=str(out), **settings)

    assert inodes(out) == before
    assert [(one.sources, one.finished) for one in found.sets] == [(1, 1), (4, 2)]

    before, done = inodes(reference), plan(out=str(reference), **settings)

    assert inodes(reference) == before
    assert [one.samples_left for one in done.sets] == [0, 0]
    assert done.selection == "done before and nothing changed: 21 samples"
    assert "stand from an earlier run" in done.shards
    assert done.disk == 0
    again = plan(out=str(reference), **settings | {"budget": "5"})
    assert again.selection == "to do: up to 5 samples, by simcore"
    assert plan(out=str(reference), redo="pool", **settings).sets[1].finished == 0


def test_calibrated(
    plan: Callable[..., Plan], settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "SECONDS", 1.0)
    monkeypatch.setattr(calibrate, "SEARCH_ROWS", 2000)
    monkeypatch.setattr(calibrate, "PART_ROWS", 500)

    found = plan(calibrated=True, out=str(tmp_path / "run"), **settings)

    assert not (tmp_path / "run").exists()
    assert found.forecast is not None
    stages = {stage.name: stage for stage in found.forecast.stages}
    assert list(stages) == ["target", "pool", "select", "pack"]
    assert stages["pool"].amount == found.sets[1].samples_left
    assert stages["pack"].amount == 21
    assert all(stage.seconds and stage.seconds > 0 and stage.memory > 1 << 20 for stage in stages.values())
    assert all(stage.gpu_hours == 0 for stage in stages.values())
    # Most of a small shard's bytes are images, which are all read.
    assert stages["pool"].read == pytest.approx(found.sets[1].bytes_left, rel=0.5)
    assert "encoding" in stages["pool"].bound_by
    assert found.forecast.seconds == sum(stage.seconds or 0 for stage in stages.values())
    assert json.loads(json.dumps(found.to_json()))["forecast"]["stages"][1]["name"] == "pool"
    assert "together    about " in found.to_text()

    unknown = plan(calibrated=True, out=str(tmp_path / "run"), **settings | {"budget": None, "stop": "0.9"})
    assert unknown.forecast is not None
    assert unknown.forecast.stages[-1].seconds is None
    assert "per 1,000 samples; how many is not known yet" in unknown.to_text()
