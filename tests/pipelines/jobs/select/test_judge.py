"""Own images, copies in the target, and the verdict, from settings to files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobs_for_tests import ENCODER, differing, files_of, picture, table, tar_bytes, write_ready

from curator.errors import UnusableInput
from curator_pipelines.config.select import IndexConfig, build
from curator_pipelines.executors import InProcessExecutor, LocalExecutor
from curator_pipelines.jobs.queries.verify_run import verify
from curator_pipelines.jobs.select import index as index_job
from curator_pipelines.run.progress import Reporter

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of a run whose pool of 30 holds images 3 and 5 of the target of 12, image 5 twice."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "target").mkdir()
    for number in range(12):
        (folder / "target" / f"{number:02d}.png").write_bytes(picture(number))
    shards = [[(f"{image:04d}.png", picture(100 * shard + image)) for image in range(10)] for shard in (1, 2, 3)]
    shards[0][4] = ("own-3.png", picture(3))
    shards[1][0] = ("own-5.png", picture(5))
    shards[2][9] = ("again-5.png", picture(5))
    for number, entries in enumerate(shards):
        (folder / f"pool-{number}.tar").write_bytes(tar_bytes(entries))
    return ENCODER | {
        "target": [str(folder / "target")],
        "pool": [str(folder / "pool-{0..2}.tar")],
        "clusters": 5,
        "manifest_only": True,
    }


def record_of(out: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((out / "selection" / "selection.json").read_text())
    return record


def skipped(out: Path) -> set[tuple[str, str, str]]:
    """Key, reason, and the target's key."""
    rows = table(str(out), "selection", "skipped.parquet")
    return {(row["key"], row["reason"], row["because"].rpartition("\t")[2]) for row in rows}


def doubts(summary: Any) -> list[str]:
    return [warning for warning in summary.warnings if "nothing of this kind" in warning]


OWN = {
    ("own-3", "own_image", "03.png"),
    ("own-5", "own_image", "05.png"),
    ("again-5", "own_image", "05.png"),
}


@pytest.mark.parametrize("selector", ["simcore", "knn", "random"])
def test_own_images_are_skipped_and_told(selector: str, run: Run, images: dict[str, Any], tmp_path: Path) -> None:
    settings = images | {"selector": selector, "budget": "27", "out": str(tmp_path / "run")}
    if selector != "simcore":
        del settings["clusters"]

    summary = run(**settings)

    assert skipped(tmp_path / "run") == OWN
    assert record_of(tmp_path / "run")["own_images"] == 3
    assert "own images  3 of the pool's images are your own: skipped" in summary.to_text()
    assert not verify(str(tmp_path / "run"), Reporter()).differences


def test_without_the_filter_they_are_chosen_but_do_not_count_as_near(
    run: Run, images: dict[str, Any], tmp_path: Path
) -> None:
    settings = images | {"budget": "20", "clusters": 100}
    run(**settings, out=str(tmp_path / "with"))
    run(**settings, out=str(tmp_path / "without"), skip_own=False)

    chosen = {row["key"] for row in table(str(tmp_path / "without"), "selection", "selected.parquet")}
    assert {"own-3", "own-5", "again-5"} <= chosen
    assert record_of(tmp_path / "without")["own_images"] == 0
    nearest = [table(str(tmp_path / name), "selection", "nearest.parquet") for name in ("with", "without")]
    assert nearest[0] == nearest[1]
    assert not {row["key"] for row in nearest[0]} & {"own-3", "own-5", "again-5"}


@pytest.mark.parametrize(
    ("executor", "clusters"),
    [
        ("local", 5),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in [("local", 100), ("ray", 5), ("ray", 100)]),
    ],
)
@pytest.mark.slow
def test_workers_leave_the_same_bytes(
    executor: str,
    clusters: int,
    run: Run,
    run_on: Run,
    images: dict[str, Any],
    make_ray: Callable[[int], Any],
    tmp_path: Path,
) -> None:
    settings = images | {"budget": "20", "clusters": clusters}
    run(**settings, out=str(tmp_path / "here"))
    workers = LocalExecutor(workers=2, cpus=1) if executor == "local" else make_ray(2)

    run_on(workers, **settings, out=str(tmp_path / "there"))

    assert not differing(files_of(str(tmp_path / "here")), files_of(str(tmp_path / "there")))


@pytest.mark.slow
def test_the_nearest_rows_do_not_depend_on_the_selection(run: Run, images: dict[str, Any], tmp_path: Path) -> None:
    """With 100 clusters every row of the target is a centroid, whose rows are taken from the selection's own scan."""
    ways: list[dict[str, Any]] = [{"clusters": 5}, {"clusters": 100}, {"clusters": 5, "stop": "off", "budget": "3"}]
    files = []
    for number, way in enumerate(ways):
        run(**images | {"budget": "20"} | way, out=str(tmp_path / str(number)))
        files.append(files_of(str(tmp_path / str(number)))["selection/nearest.parquet"])
    knn = {name: value for name, value in images.items() if name != "clusters"}
    run(**knn, selector="knn", budget="2", out=str(tmp_path / "knn"))
    files.append(files_of(str(tmp_path / "knn"))["selection/nearest.parquet"])

    assert files == files[:1] * 4


@pytest.mark.parametrize(
    ("kind", "clusters"),
    [
        ("Flat", 5),
        ("SQ8", 100),
        pytest.param("SQ8", 5, marks=pytest.mark.slow),
        pytest.param("Flat", 100, marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_an_index_skips_the_same_and_says_that_it_is_a_lower_bound(
    kind: str, clusters: int, run: Run, images: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_job, "make_executor", lambda *arguments: InProcessExecutor())
    out = tmp_path / "run"
    settings = images | {"budget": "20", "clusters": clusters, "out": str(out)}
    run(**settings)
    exact, nearest = skipped(out), table(str(out), "selection", "nearest.parquet")
    index_job.run_index(build(IndexConfig, {"out": str(out), "factory": f"IVF3,{kind}"}), Reporter())

    summary = run(**settings, search="ivf", recall=1.0)

    assert skipped(out) == exact == OWN
    assert table(str(out), "selection", "nearest.parquet") == nearest
    assert record_of(out)["verdict"]["bound"] == "lower"
    assert "for at least" in summary.to_text()


def test_a_pool_that_is_the_target_leaves_nothing_to_choose(run: Run, tmp_path: Path) -> None:
    entries = [(f"{number:04d}.png", picture(number)) for number in range(9)]
    (tmp_path / "all.tar").write_bytes(tar_bytes(entries))
    both = {"target": [str(tmp_path / "all.tar")], "pool": [str(tmp_path / "all.tar")]}

    with pytest.raises(
        UnusableInput, match=r"^nothing is left to choose: 9 of the pool's 9 images are the target's own"
    ):
        run(**ENCODER, **both, out=str(tmp_path / "run"), clusters=3, budget="4")

    assert not (tmp_path / "run" / "selection" / "selection.json").exists()


# ---- ready embeddings, which bring no hashes


def spread(count: int, seed: int, centre: int) -> np.ndarray:
    """Rows around an axis."""
    rows = 0.25 * np.random.default_rng(seed).standard_normal((count, 16))
    rows[:, centre] += 1
    return rows.astype(np.float32)


def ready(folder: Path, target: np.ndarray, pool: list[np.ndarray]) -> dict[str, Any]:
    return {
        "target": [write_ready(folder / "ready-target", [target], prefix="t")],
        "pool": [write_ready(folder / "ready-pool", pool)],
        "clusters": 4,
        "budget": "10",
        "manifest_only": True,
    }


def test_without_hashes_what_looks_the_same_is_own(run: Run, tmp_path: Path) -> None:
    target = spread(20, 1, centre=0)
    pool = spread(50, 2, centre=0)
    pool[[7, 30]] = target[[4, 11]]
    settings = ready(tmp_path, target, [pool])

    run(**settings | {"budget": "48"}, out=str(tmp_path / "run"))

    assert skipped(tmp_path / "run") == {("k0-7", "looks_like_own", "t0-4"), ("k0-30", "looks_like_own", "t0-11")}


def test_the_verdict_is_what_brute_force_finds(run: Run, tmp_path: Path) -> None:
    target, pool = spread(20, 1, centre=0), np.concatenate([spread(90, 2, centre=0), spread(30, 3, centre=1)])
    settings = ready(tmp_path, target, [pool[:25], pool[25:]])

    summary = run(**settings, out=str(tmp_path / "run"))

    nearest = table(str(tmp_path / "run"), "selection", "nearest.parquet")
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (target, pool)]
    scores = unit[0] @ unit[1].T
    names = [f"k0-{row}" for row in range(25)] + [f"k1-{row}" for row in range(95)]
    assert [row["target_row"] for row in nearest] == list(range(20))
    assert [row["target_key"] for row in nearest] == [f"t0-{row}" for row in range(20)]
    assert [row["key"] for row in nearest] == [names[place] for place in scores.argmax(axis=1)]
    np.testing.assert_allclose([row["score"] for row in nearest], scores.max(axis=1), atol=1e-3)
    verdict = record_of(tmp_path / "run")["verdict"]
    assert verdict["share"] == np.mean(np.array([row["score"] for row in nearest]) > verdict["median"])
    assert (verdict["rows"], verdict["bound"]) == (20, "exact")
    assert f"for {verdict['share']:.0%} of 20 target images" in summary.to_text()
    assert verdict["share"] >= 0.6 and not doubts(summary)


def test_a_pool_without_the_kind_is_told_and_told_again(run: Run, tmp_path: Path) -> None:
    settings = ready(tmp_path, spread(20, 1, centre=0), [spread(60, 3, centre=1)])

    first = run(**settings, out=str(tmp_path / "run"))
    again = run(**settings, out=str(tmp_path / "run"))

    for summary in (first, again):
        (warning,) = doubts(summary)
        assert warning.startswith("the pool may hold nothing of this kind, or show it in another way than the target")
        assert "for 5% of 20 target images" in warning
    assert again.selection["verdict"] == first.selection["verdict"]


def test_at_random_nothing_is_known(run: Run, tmp_path: Path) -> None:
    settings = ready(tmp_path, spread(20, 1, centre=0), [spread(60, 3, centre=1)])
    del settings["clusters"]

    summary = run(**settings, selector="random", out=str(tmp_path / "run"))

    assert table(str(tmp_path / "run"), "selection", "nearest.parquet") == []
    assert summary.selection["verdict"]["bound"] == "unknown"
    assert "verdict" not in summary.to_text()
    assert not doubts(summary)


def test_copies_in_the_target_are_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    for name, number in {"a": 1, "b": 2, "c": 1, "d": 3, "e": 2, "f": 4}.items():
        (tmp_path / "target" / f"{name}.png").write_bytes(picture(number))
    (tmp_path / "pool.tar").write_bytes(tar_bytes([(f"{number:04d}.png", picture(number)) for number in range(50, 60)]))
    both = {"target": [str(tmp_path / "target")], "pool": [str(tmp_path / "pool.tar")]}

    summary = run(**ENCODER, **both, out=str(tmp_path / "run"), clusters=100, budget="4", manifest_only=True)

    assert "2 of the target's 6 images are copies of others, such as c.png of a.png" in summary.warnings
    assert summary.selection["target_copies"] == 2
    assert len(np.load(tmp_path / "run" / "selection" / "centroids.npy")) == 4


def test_a_target_of_one_image_many_times(run: Run, tmp_path: Path) -> None:
    target = np.repeat(spread(1, 1, centre=0), 5, axis=0)

    summary = run(**ready(tmp_path, target, [spread(40, 2, centre=0)]), out=str(tmp_path / "run"))

    assert "4 of the target's 5 images are copies of others, such as t0-1 of t0-0" in summary.warnings
    assert not doubts(summary)
    # Nothing is left to compare an image with.
    assert summary.selection["verdict"] == {"share": None, "rows": 5, "bound": "unknown", "median": None}


def test_several_targets_each_have_their_own(run: Run, tmp_path: Path) -> None:
    one, two = spread(20, 1, centre=0), spread(20, 4, centre=2)
    pool = np.concatenate([spread(40, 2, centre=0), one[:3]])
    folders = [write_ready(tmp_path / name, [rows], prefix="t") for name, rows in (("one", one), ("two", two))]
    settings = ready(tmp_path, one, [pool]) | {"target": [f"near={folders[0]}", f"far={folders[1]}"], "budget": "42"}

    summary = run(**settings, out=str(tmp_path / "run"))

    near, far = (summary.results[name].selection for name in ("near", "far"))
    assert (near["own_images"], far["own_images"]) == (3, 0)
    assert near["verdict"]["share"] >= 0.6 and far["verdict"]["share"] < 0.2
    assert [warning.partition(":")[0] for warning in doubts(summary)] == ["far"]
