"""What a run finds in the target's own images: where to stop, how they rank in the pool, and what it tells of both."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobs_for_tests import table, write_ready

from curator.errors import CuratorError, InputError
from curator.selection import hold_out

Run = Callable[..., Any]

DIM = 8


def near(axis: int, count: int, seed: int, spread: float = 0.25) -> np.ndarray:
    """Rows that look like one axis, each with a direction of its own beside."""
    rows = np.eye(DIM)[axis] + spread * np.random.default_rng(seed).normal(size=(count, DIM))
    return rows.astype(np.float32)


def anything(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)


@pytest.fixture
def embedded(tmp_path: Path) -> dict[str, Any]:
    """A target near one axis, and a pool of which 60 of 360 rows are near it too."""
    target = write_ready(tmp_path / "target", [near(0, 20, 1), near(0, 12, 2)], prefix="t")
    pool = write_ready(tmp_path / "pool", [near(0, 60, 3), anything(300, 4)])
    return {"target": [target], "pool": [pool], "encoder": "lite0", "manifest_only": True}


def record(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "selection" / "selection.json").read_text())
    return found


def rows_of(out: Path, name: str) -> list[dict[str, Any]]:
    return table(str(out), "selection", f"{name}.parquet")


def stored(out: Path, which: str) -> np.ndarray:
    return np.concatenate([np.load(path) for path in sorted((out / which / "img_emb").iterdir())])


def test_without_a_budget_it_stops_by_the_targets_own_images(
    run: Run, embedded: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    summary = run(out=str(out), **embedded)
    found = record(out)
    held_out = hold_out(stored(out, "target"), None, 0)

    assert (found["stop"], found["stop_from"], found["tau"]) == (held_out.tau, "auto", held_out.tau)
    assert found["quantiles"]["median"] == held_out.median
    assert (found["held_out"], found["folds"], found["groups"]) == (32, 5, held_out.groups)
    assert len(np.load(out / "selection" / "centroids.npy")) == 32
    assert found["stop_reason"] == "stop_rule"
    assert 30 < found["count"] < 100
    told = next(told for told in found["thresholds"] if told["stop"] == held_out.tau)
    assert (told["chosen"], told["exact"], told["more"]) == (found["count"], True, False)
    # On stderr as soon as the target is embedded, and in the summary.
    line = f"stop: below {held_out.tau:.4f} of the first round, from your own images: tenth percentile "
    assert line in capsys.readouterr().err.replace("\n", " ")
    assert f"below {held_out.tau:.4f} of the first round (from your own images)" in summary.to_text()
    assert "beyond the end" in summary.to_text()
    assert f"{held_out.tau:g} (in force) {found['count']:,}" in summary.to_text()


def test_held_out_and_next_rows_are_stored(run: Run, embedded: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(out=str(out), **embedded, budget="40")
    held_out = hold_out(stored(out, "target"), None, 0)
    rows = rows_of(out, "held_out")

    assert [row["row"] for row in rows] == list(range(32))
    assert len({row["key"] for row in rows}) == 32
    assert [row["fold"] for row in rows] == held_out.fold.tolist()
    assert [row["h"] for row in rows] == pytest.approx(held_out.similarity.tolist())
    # By the definition: the share of the pool that scores higher with the centroids of the other folds.
    pool = stored(out, "pool").astype(np.float64)
    pool /= np.linalg.norm(pool, axis=1, keepdims=True)
    for row in rows:
        centroids = held_out.centroids[row["fold"]].astype(np.float64)
        assert row["rank"] == pytest.approx(np.mean((pool @ centroids.T).max(axis=1) > row["h"]), abs=0.003)
    ranks = np.array([row["rank"] for row in rows])
    found = record(out)
    assert found["finds_yours"] == {
        "median_rank": np.median(ranks),
        "share_in_top_1_percent": np.mean(ranks <= 0.01),
        "better_than_chance": True,
        "sampled": 360,
    }
    assert found["next"] == 100
    run(out=str(tmp_path / "more"), **embedded, budget="140")
    assert rows_of(out, "selected") + rows_of(out, "next") == rows_of(tmp_path / "more", "selected")


@pytest.mark.parametrize("selector", ["knn", "random"])
def test_every_selector_tells_both(selector: str, run: Run, embedded: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(out=str(out), **embedded, budget="40", selector=selector)
    run(out=str(tmp_path / "more"), **embedded, budget="50", selector=selector)
    assert (rows_of(out, "selected") + rows_of(out, "next"))[:50] == rows_of(tmp_path / "more", "selected")
    found = record(out)
    assert (found["around_end"], found["thresholds"]) == ([], [])
    assert found["tau"] == hold_out(stored(out, "target"), None, 0).tau
    assert found["finds_yours"]["median_rank"] < 0.2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (near(0, 1, 0), "the target has 1 group of images that differ: 3 are needed"),
        (near(0, 2, 0), "the target has . groups? of images that differ: 3 are needed"),
        (np.ones((30, DIM), np.float32), "the target has 1 group of images that differ: 3 are needed"),
        (np.concatenate([np.eye(DIM), -np.eye(DIM)]).astype(np.float32), "have nothing in common"),
    ],
)
def test_a_target_that_cannot_tell_where_to_stop_ends_the_run_before_the_pool_is_read(
    rows: np.ndarray, message: str, run: Run, embedded: dict[str, Any], tmp_path: Path
) -> None:
    given = embedded | {"target": [write_ready(tmp_path / "few", [rows])]}
    with pytest.raises(InputError, match=message) as raised:
        run(out=str(tmp_path / "run"), **given)
    assert "\n" not in str(raised.value)
    assert raised.value.field == "stop"
    assert not (tmp_path / "run" / "pool").exists()
    # With a budget there is nothing to find.
    summary = run(out=str(tmp_path / "run"), **given, budget="5")
    assert summary.selection["count"] == 5
    assert summary.selection["tau"] is None
    assert summary.selection["stop"] is None


@pytest.mark.parametrize("count", [4, 9])
def test_few_images_are_left_out_one_by_one(count: int, run: Run, embedded: dict[str, Any], tmp_path: Path) -> None:
    target = write_ready(tmp_path / "few", [near(0, count, 5)])
    summary = run(out=str(tmp_path / "run"), **embedded | {"target": [target]})
    assert summary.selection["held_out"] == count
    assert summary.selection["folds"] == summary.selection["groups"]
    assert summary.selection["stop_from"] == "auto"
    assert ("too few to tell" in summary.to_text()) == (count < 7)


def test_identical_images_with_a_budget_say_what_is_not_known(
    run: Run, embedded: dict[str, Any], tmp_path: Path
) -> None:
    target = write_ready(tmp_path / "same", [np.ones((20, DIM), np.float32)])
    summary = run(out=str(tmp_path / "run"), **embedded | {"target": [target]}, budget="5")
    assert summary.selection["finds_yours"] == {
        "median_rank": None,
        "share_in_top_1_percent": None,
        "better_than_chance": None,
        "sampled": 360,
    }
    assert "too few or too alike to be held out" in summary.to_text()
    assert rows_of(tmp_path / "run", "held_out") == []


def test_several_targets_have_a_threshold_each_and_an_overlap(
    run: Run, embedded: dict[str, Any], tmp_path: Path
) -> None:
    targets = {
        "near": write_ready(tmp_path / "a", [near(0, 20, 1)]),
        "far": write_ready(tmp_path / "b", [near(0, 30, 6, spread=0.4)]),
        "other": write_ready(tmp_path / "c", [near(1, 20, 7)]),
    }
    out = tmp_path / "run"
    summary = run(out=str(out), **embedded | {"target": [f"{name}={url}" for name, url in targets.items()]})
    ids = {name: {row["id"] for row in rows_of(out / name, "selected")} for name in targets}

    assert len({record(out / name)["stop"] for name in targets}) == 3
    assert summary.to_json()["overlaps"] == [
        {"first": first, "second": second, "both": len(ids[first] & ids[second])}
        for first, second in (("near", "far"), ("near", "other"), ("far", "other"))
    ]
    assert summary.to_json()["overlaps"][0]["both"] > 10
    assert f"overlap     near and far: {len(ids['near'] & ids['far'])} in both" in summary.to_text()
    assert summary.to_text().count("thresholds  ") == 3
    for name, target in targets.items():
        alone = run(out=str(tmp_path / f"alone-{name}"), **embedded | {"target": [target]})
        assert record(out / name)["thresholds"] == alone.selection["thresholds"]


def test_one_of_several_targets_that_cannot_tell_is_named(run: Run, embedded: dict[str, Any], tmp_path: Path) -> None:
    few = write_ready(tmp_path / "few", [near(0, 1, 0)])
    given = embedded | {"target": [f"good={embedded['target'][0]}", f"few={few}"]}
    with pytest.raises(InputError, match="few: the target has 1 group"):
        run(out=str(tmp_path / "run"), **given)


def test_an_encoder_that_does_not_find_them_is_a_warning(run: Run, embedded: dict[str, Any], tmp_path: Path) -> None:
    given = embedded | {"target": [write_ready(tmp_path / "any", [anything(30, 9)])]}
    summary = run(out=str(tmp_path / "run"), **given, budget="5")
    assert summary.selection["finds_yours"]["better_than_chance"] is False
    assert [warning for warning in summary.warnings if "does not find your images" in warning]
    assert "NO BETTER THAN CHANCE" in summary.to_text()
    # The stored selection says it again.
    assert run(out=str(tmp_path / "run"), **given, budget="5").warnings == summary.warnings


def test_a_budget_far_beyond_the_domain_is_a_warning(run: Run, embedded: dict[str, Any], tmp_path: Path) -> None:
    def warnings(budget: str) -> list[str]:
        summary = run(out=str(tmp_path / "run"), **embedded, budget=budget)
        return [warning for warning in summary.warnings if "far beyond your domain" in warning]

    by_auto = run(out=str(tmp_path / "auto"), **embedded).selection["count"]
    assert warnings("40") == []
    (warning,) = warnings("300")
    assert f"auto would take {by_auto:,} samples, not 300" in warning


def test_an_end_before_every_centroid_had_a_sample_is_a_warning(
    run: Run, embedded: dict[str, Any], tmp_path: Path
) -> None:
    """The target is as one photo to the encoder, and the pool's few of its kind are shown in another way."""
    off_axis = near(0, 3, 5, spread=0.05) + np.eye(DIM, dtype=np.float32)[1]
    given = embedded | {
        "target": [write_ready(tmp_path / "alike", [near(0, 32, 1, spread=0.02)])],
        "pool": [write_ready(tmp_path / "other", [off_axis, near(1, 60, 3, spread=0.1)])],
    }

    def warnings(out: str, **settings: Any) -> list[str]:
        summary = run(out=str(tmp_path / out), **given, **settings)
        assert summary.selection["count"] < 4
        return [warning for warning in summary.warnings if "the stop rule auto took" in warning]

    (warning,) = warnings("run")
    assert warning.startswith("the stop rule auto took 1 sample, fewer than the 32 centroids of your images")
    # The stored selection says it again, and ends that the user chose are the user's.
    assert warnings("run") == [warning]
    assert warnings("budget", budget="3") == warnings("number", stop="0.99") == []


def test_a_pool_with_nothing_like_the_target_ends_the_run(run: Run, embedded: dict[str, Any], tmp_path: Path) -> None:
    given = embedded | {"pool": [write_ready(tmp_path / "opposite", [-near(0, 40, 3, spread=0.05)])]}
    with pytest.raises(CuratorError, match=r"round 1 is not positive.*the whole pool would be taken") as raised:
        run(out=str(tmp_path / "run"), **given)
    assert raised.value.exit_code == 1
    assert not (tmp_path / "run" / "selection" / "selection.json").exists()


def test_a_preset_is_the_papers_rule(run: Run, embedded: dict[str, Any], tmp_path: Path) -> None:
    given = {name: value for name, value in embedded.items() if name != "encoder"}
    summary = run(out=str(tmp_path / "run"), **given, preset="authors", clusters=4)
    found = summary.selection
    assert (found["stop"], found["stop_from"], found["reference_round"]) == (0.95, "preset authors", 20)
    assert "below 0.9500 of round 20 (preset authors)" in summary.to_text()
