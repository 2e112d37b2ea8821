"""Ready embeddings in place of images, other runs' pools, budgets, selectors and deny lists."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from jobs_for_tests import (
    CountsTasks,
    assert_same_bytes,
    beside_chance,
    chosen,
    differing,
    files_of,
    ledger,
    line_of,
    packed_samples,
    picture,
    table,
    tar_bytes,
    write_ready,
)

from curator.errors import InputError, UnusableInput
from curator.search import Scanned, ScanTask, scan_parts
from curator_pipelines.jobs.queries.verify_run import verify
from curator_pipelines.run.progress import Reporter

Run = Callable[..., Any]
Counted = Callable[..., CountsTasks]

DIM = 16


def rows_of(count: int, seed: int) -> np.ndarray:
    """Rows of many lengths."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, DIM)) * rng.uniform(0.1, 30, (count, 1))).astype(np.float32)


def scores(rows: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """By the definition: dot product over the row's norm, float64, in order of dimensions."""
    wide, centres = rows.astype(np.float64), centroids.astype(np.float64)
    dots, squares = np.zeros((len(rows), len(centroids))), np.zeros(len(rows))
    for d in range(rows.shape[1]):
        dots += wide[:, d, None] * centres[None, :, d]
        squares += wide[:, d] ** 2
    return (dots / np.sqrt(squares)[:, None]).astype(np.float32)


@pytest.fixture
def ready(tmp_path: Path) -> dict[str, Any]:
    """Settings of a run without any image."""
    pool = write_ready(tmp_path / "ready-pool", [rows_of(30, 1), rows_of(1, 2), rows_of(20, 3)])
    target = write_ready(tmp_path / "ready-target", [rows_of(7, 4), rows_of(5, 5)], prefix="t")
    return {"pool": [pool], "target": [target], "clusters": 3, "budget": "12", "manifest_only": True}


def stored(out: Path, which: str = "pool") -> np.ndarray:
    return np.concatenate([np.load(path) for path in sorted((out / which / "img_emb").iterdir())])


class TestReadyEmbeddings:
    @pytest.mark.parametrize("dtype", [np.float32, np.float16])
    def test_rows_are_brought_to_unit_length(self, dtype: Any, run: Run, ready: dict[str, Any], tmp_path: Path) -> None:
        arrays = [rows_of(30, 1).astype(dtype), rows_of(21, 2).astype(dtype)]
        pool = write_ready(tmp_path / "typed", arrays)

        run(out=str(tmp_path / "run"), **ready | {"pool": [pool]})

        given = np.concatenate(arrays).astype(np.float64)
        unit = (given / np.linalg.norm(given, axis=1, keepdims=True)).astype(np.float16)
        assert stored(tmp_path / "run").dtype == np.float16
        assert np.array_equal(stored(tmp_path / "run"), unit)
        assert not verify(str(tmp_path / "run"), Reporter()).differences

    def test_what_is_chosen_is_the_definitions(self, run: Run, ready: dict[str, Any], tmp_path: Path) -> None:
        out = tmp_path / "run"
        run(out=str(out), **ready)

        found, centroids = chosen(out), np.load(out / "selection" / "centroids.npy")
        all_scores = scores(stored(out), centroids)
        first = [row for row in found if row["round"] == 1]
        best = {int(np.argmax(column)) for column in all_scores.T}
        positions = {"k0": 0, "k1": 30, "k2": 31}

        def position(row: dict[str, Any]) -> int:
            file, _, index = row["key"].partition("-")
            return positions[file] + int(index)

        assert {position(row) for row in first} == best
        assert all(row["score"] == all_scores[position(row), row["centroid"]] for row in found)
        assert len(found) == 12

    def test_a_row_without_direction_is_in_the_ledger(self, run: Run, ready: dict[str, Any], tmp_path: Path) -> None:
        rows = rows_of(40, 1)
        rows[3], rows[5, 2] = 0, np.nan
        pool = write_ready(tmp_path / "odd", [rows])

        run(out=str(tmp_path / "run"), **ready | {"pool": [pool], "max_bad": 0.05})

        assert [(row["key"], row["reason"]) for row in ledger(str(tmp_path / "run"))] == [
            ("k0-3", "bad_embedding"),
            ("k0-5", "bad_embedding"),
        ]
        keys = [row["image_path"] for row in table(str(tmp_path / "run"), "pool/metadata/metadata_00000000.parquet")]
        assert keys == [f"k0-{row}" for row in range(40) if row not in (3, 5)]
        assert not verify(str(tmp_path / "run"), Reporter()).differences

    def test_without_manifest_only_nothing_begins(self, run: Run, ready: dict[str, Any], tmp_path: Path) -> None:
        with pytest.raises(InputError, match="give manifest_only=True"):
            run(out=str(tmp_path / "run"), **ready | {"manifest_only": False})

        assert not (tmp_path / "run").exists()

    def test_array_and_metadata_that_do_not_fit(self, run: Run, ready: dict[str, Any], tmp_path: Path) -> None:
        pool = Path(write_ready(tmp_path / "odd", [rows_of(10, 1)]))
        np.save(pool / "img_emb" / "img_emb_0000.npy", rows_of(9, 1))

        with pytest.raises(Exception, match=r"9 rows and .* 10"):
            run(out=str(tmp_path / "run"), **ready | {"pool": [str(pool)]})

    @pytest.mark.slow
    def test_images_as_target_of_ready_embeddings(
        self, run: Run, settings: dict[str, Any], reference: Path, tmp_path: Path
    ) -> None:
        # What another tool made with the same encoder: the reference run's own arrays without our metadata.
        arrays = [np.load(path) for path in sorted((reference / "pool" / "img_emb").iterdir())]
        pool = write_ready(tmp_path / "ready", [array.astype(np.float32) for array in arrays])
        out = tmp_path / "run"
        mine = {name: value for name, value in settings.items() if name != "deny"}

        run(out=str(out), **mine | {"pool": [pool], "manifest_only": True})
        run(out=str(tmp_path / "images"), **mine | {"manifest_only": True})

        ours, theirs = ([row["id"] for row in chosen(folder)] for folder in (out, tmp_path / "images"))
        assert ours == theirs

    def test_a_ready_target(self, run: Run, settings: dict[str, Any], reference: Path, tmp_path: Path) -> None:
        # Embeddings that were unit rows in float16 stay what they were.
        target = write_ready(tmp_path / "ready", [stored(reference, "target")])

        run(out=str(tmp_path / "run"), **settings | {"target": [target]})

        ours, theirs = files_of(str(tmp_path / "run")), files_of(str(reference))
        changed = [name for name in differing(ours, theirs) if not name.startswith("target/")]
        # The target's shards and keys, and the hash of the inputs.
        assert changed == ["selection/held_out.parquet", "selection/nearest.parquet", "selection/selection.json"]


class TestOtherRunsPool:
    def test_a_copy_gives_the_same_selection_and_tars(
        self, counted: Counted, settings: dict[str, Any], reference: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "run"

        tasks = counted(out=str(out), **settings | {"pool": [str(reference / "pool")], "copy_pool": True})

        embedded = [name for name in tasks.embedded if name != "target"]
        assert sorted(embedded) == [f"pool-{number}.tar" for number in range(4)]
        changed = [name for name in differing(files_of(str(out)), files_of(str(reference))) if "/done/" not in name]
        # Bad samples, and what machines calculate, are those of the run that read the images.
        changed = [name for name in changed if not name.startswith("pool/fixed_batch/")]
        assert set(changed) <= {"selection/selection.json", "quarantine.parquet"}
        assert not verify(str(out), Reporter()).differences

    @pytest.mark.slow
    def test_grows_with_it(self, counted: Counted, settings: dict[str, Any], reference: Path, tmp_path: Path) -> None:
        pool, first, second = settings["pool"], str(tmp_path / "first"), str(tmp_path / "second")
        counted(out=first, **settings | {"pool": pool[:3]})
        copies = settings | {"pool": [f"{first}/pool"], "copy_pool": True}
        counted(out=second, **copies)

        counted(out=first, **settings)
        tasks = counted(out=second, **copies)

        assert tasks.embedded == ["pool-3.tar"]
        assert chosen(Path(second)) == chosen(reference)

    @pytest.mark.slow
    def test_beside_shards(self, counted: Counted, settings: dict[str, Any], reference: Path, tmp_path: Path) -> None:
        first, out = str(tmp_path / "first"), tmp_path / "run"
        counted(out=first, **settings | {"pool": settings["pool"][:2]})

        counted(out=str(out), **settings | {"pool": [f"{first}/pool", *settings["pool"]]})

        assert chosen(out) == chosen(reference)
        assert packed_samples(str(out)) == packed_samples(str(reference))

    def test_of_another_encoder(self, run: Run, settings: dict[str, Any], reference: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="another encoder"):
            run(
                out=str(tmp_path / "run"),
                **settings | {"pool": [str(reference / "pool")], "encoder": "timm:test_resnet"},
            )

        assert not (tmp_path / "run").exists()

    def test_that_is_not_finished(self, run: Run, settings: dict[str, Any], reference: Path, tmp_path: Path) -> None:
        other = Path(shutil.copytree(reference, tmp_path / "other"))
        next((other / "pool" / "done").glob("00000001-*")).unlink()

        with pytest.raises(InputError, match=r"not finished.*pool-1\.tar"):
            run(out=str(tmp_path / "run"), **settings | {"pool": [str(other / "pool")]})

    def test_its_own(self, run: Run, settings: dict[str, Any], reference: Path) -> None:
        with pytest.raises(InputError, match="cannot be its own pool"):
            run(out=str(reference), **settings | {"pool": [str(reference / "pool")]})


class TestEnds:
    @pytest.mark.parametrize(
        ("change", "count", "reason"),
        [
            ({"budget": "1"}, 1, "budget"),
            ({"budget": "20%"}, 10, "budget"),  # of 51
            ({"budget": "1%"}, 1, "budget"),
            ({"budget": "51"}, 51, "budget"),
            ({"budget": "52"}, 51, "pool_exhausted"),
            ({"budget": "9", "selector": "knn", "clusters": None}, 9, "budget"),
            ({"budget": "9", "selector": "random", "clusters": None}, 9, "budget"),
        ],
    )
    def test_budgets(
        self, change: dict[str, Any], count: int, reason: str, run: Run, ready: dict[str, Any], tmp_path: Path
    ) -> None:
        summary = run(out=str(tmp_path / "run"), **ready | change)

        assert len(chosen(tmp_path / "run")) == count
        assert summary.selection["stop_reason"] == reason
        assert bool(beside_chance(summary.warnings)) == (change["budget"] == "52")
        assert not verify(str(tmp_path / "run"), Reporter()).differences

    def test_stop(self, run: Run, ready: dict[str, Any], tmp_path: Path) -> None:
        out = tmp_path / "run"
        del ready["budget"]
        summary = run(out=str(out), **ready | {"stop": "0.8"})

        means = [row["mean_score"] for row in table(str(out), "selection", "rounds.parquet")]
        assert summary.selection["stop_reason"] == "stop_rule"
        assert min(means) >= 0.8 * means[0]
        assert summary.selection["stopped_at"]["mean"] < 0.8 * means[0]

    def test_by_default_it_stops_by_itself(self, run: Run, ready: dict[str, Any], tmp_path: Path) -> None:
        del ready["budget"]
        rows = np.eye(DIM)[0] + 0.1 * np.random.default_rng(0).normal(size=(12, DIM))
        ready["target"] = [write_ready(tmp_path / "alike", [rows.astype(np.float32)])]
        run(out=str(tmp_path / "default"), **ready)
        run(out=str(tmp_path / "explicit"), **ready | {"stop": "auto"})

        assert_same_bytes(str(tmp_path / "default"), str(tmp_path / "explicit"))

    def test_knn_is_the_nearest_to_any_target(self, run: Run, ready: dict[str, Any], tmp_path: Path) -> None:
        out = tmp_path / "run"
        run(out=str(out), **ready | {"selector": "knn", "clusters": None})

        targets = stored(out, "target").astype(np.float64)
        targets /= np.linalg.norm(targets, axis=1, keepdims=True)
        best = scores(stored(out), targets.astype(np.float32)).max(axis=1)
        assert sorted((row["score"] for row in chosen(out)), reverse=True) == sorted(best, reverse=True)[:12]

    def test_random_is_random_by_seed(self, run: Run, ready: dict[str, Any], tmp_path: Path) -> None:
        found = []
        for seed in (0, 0, 1):
            out = tmp_path / f"run-{len(found)}"
            run(out=str(out), **ready | {"selector": "random", "clusters": None, "seed": seed})
            found.append([row["id"] for row in chosen(out)])

        assert found[0] == found[1] != found[2]

    def test_manifest_only(self, run: Run, settings: dict[str, Any], reference: Path, tmp_path: Path) -> None:
        out = tmp_path / "run"
        run(out=str(out), **settings | {"manifest_only": True})

        assert [path.name for path in (out / "shards").iterdir()] == ["manifest.parquet"]
        rows = table(str(out), "shards", "manifest.parquet")
        packed = {row["id"]: row for row in table(str(reference), "shards", "manifest.parquet")}
        assert [row["id"] for row in rows] == sorted(packed)
        assert all(row == packed[row["id"]] | {"out_shard": None, "out_key": None} for row in rows)


@pytest.mark.slow
class TestLeftOut:
    def write_list(self, folder: Path, form: str, shard: str, key: str) -> str:
        path = folder / f"deny-{form}"
        if form == "by key":
            path.write_text(f"{key}\n\n# {shard}\n")
        elif form == "by shard and key":
            path.write_text(f"{shard}\t{key}\n")
        else:
            pq.write_table(pa.table({"shard": [shard], "key": [key]}), path)
        return str(path)

    @pytest.mark.parametrize("form", ["by key", "by shard and key", "parquet"])
    def test_denied(self, form: str, run: Run, settings: dict[str, Any], reference: Path, tmp_path: Path) -> None:
        mine = settings | {"out": str(tmp_path / "run")}
        first = chosen(reference)[0]
        mine["deny"] = self.write_list(tmp_path, form, first["shard"], first["key"])

        summary = run(**mine)

        ids = {row["id"] for row in chosen(tmp_path / "run")}
        skipped = table(mine["out"], "selection", "skipped.parquet")
        assert len(ids) == 21
        assert first["id"] not in ids
        assert first["id"] in {row["id"] for row in skipped}
        assert {row["reason"] for row in skipped} == {"denied"}
        by_key = {row["key"] for row in skipped}
        assert by_key == {first["key"]}
        # A key alone is denied wherever it occurs.
        others = {row["id"] for row in chosen(tmp_path / "run") if row["key"] == first["key"]}
        assert not others or form != "by key"
        assert beside_chance(summary.warnings) == []
        assert not verify(mine["out"], Reporter()).differences

    def test_an_entry_that_matches_nothing_is_a_warning(
        self, run: Run, settings: dict[str, Any], tmp_path: Path
    ) -> None:
        (tmp_path / "deny").write_text("no such key\n0001\n")

        summary = run(out=str(tmp_path / "run"), **settings | {"deny": str(tmp_path / "deny")})

        (warning,) = beside_chance(summary.warnings)
        assert "1 of 2 entries of the deny list match no sample" in warning

    def test_min_side(self, run: Run, settings: dict[str, Any], tmp_path: Path) -> None:
        out = tmp_path / "run"
        # Sides are 48 x 48..52: all are large enough, or none.
        run(out=str(out), **settings | {"min_side": 48})
        assert [row["reason"] for row in ledger(str(out))] == ["decode_error"]

        with pytest.raises(UnusableInput, match="the pool has no usable sample"):
            run(out=str(tmp_path / "none"), **settings | {"min_side": 49})

        reasons = [row["reason"] for row in ledger(str(tmp_path / "none"))]
        assert reasons.count("too_small") == 59
        # The target is the user's own: --min-side is for the pool.
        assert len(table(str(tmp_path / "none"), "target", "metadata", "metadata_00000000.parquet")) == 9

    def test_min_side_holds_for_another_runs_pool(self, run: Run, settings: dict[str, Any], tmp_path: Path) -> None:
        small = {3, 4, 11}
        images = [(f"{number}.png", picture(number, side=20 if number in small else 48)) for number in range(12)]
        (tmp_path / "pool.tar").write_bytes(tar_bytes(images))
        shards, parts = [str(tmp_path / "pool.tar")], [str(tmp_path / "whole" / "pool")]
        wanted = settings | {"deny": None, "min_side": 30, "budget": "9"}
        run(out=str(tmp_path / "whole"), **wanted | {"pool": shards, "min_side": 0})
        run(out=str(tmp_path / "embedded"), **wanted | {"pool": shards})

        run(out=str(tmp_path / "imported"), **wanted | {"pool": parts})

        embedded, imported = str(tmp_path / "embedded"), str(tmp_path / "imported")
        assert [int(row["key"]) for row in ledger(imported) if row["reason"] == "too_small"] == sorted(small)
        assert [row["detail"] for row in ledger(imported)] == [row["detail"] for row in ledger(embedded)]
        for name in ("pool/img_emb/img_emb_00000000.npy", "pool/metadata/metadata_00000000.parquet"):
            assert files_of(imported)[name] == files_of(embedded)[name]
        assert not verify(str(tmp_path / "imported"), Reporter()).differences

    def test_min_side_needs_to_know_sizes(self, run: Run, ready: dict[str, Any], tmp_path: Path) -> None:
        with pytest.raises(InputError, match="nobody knows how large"):
            run(out=str(tmp_path / "run"), **ready | {"min_side": 3})
        assert not (tmp_path / "run" / "pool").exists()

    def test_a_folder_in_another_runs_embeddings_has_no_shard_to_pack_from(
        self, run: Run, settings: dict[str, Any], reference: Path, tmp_path: Path
    ) -> None:
        wanted = settings | {"pool": [str(reference / "target")], "deny": None, "budget": "3", "skip_own": False}
        with pytest.raises(InputError, match="only shards can be packed from"):
            run(out=str(tmp_path / "run"), **wanted)
        assert not (tmp_path / "run" / "pool").exists()

        run(out=str(tmp_path / "run"), **wanted | {"manifest_only": True})
        assert len(table(str(tmp_path / "run"), "shards", "manifest.parquet")) == 3

    def test_the_damaged_image_is_in_the_ledger(self, reference: Path) -> None:
        assert [line_of(row) for row in ledger(str(reference))] == [("pool-0.tar", "0002", "decode_error")]


def test_a_pool_that_has_grown_is_searched_in_its_new_parts_alone(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = [rows_of(5000, seed) for seed in range(6)]
    target = write_ready(tmp_path / "target", [rows_of(7, 40)], prefix="t")
    all_of_it, pool = (write_ready(tmp_path / name, arrays[:count]) for name, count in (("all", 6), ("pool", 5)))
    settings = {"target": [target], "pool": [pool], "clusters": 3, "budget": "12", "manifest_only": True}
    fresh, grown = tmp_path / "fresh", tmp_path / "grown"
    run(out=str(grown), **settings)
    for file in Path(all_of_it).rglob("*_0005.*"):
        shutil.copy2(file, Path(pool) / file.parent.name / file.name)
    scanned: list[int] = []

    def noted(task: ScanTask, *rest: Any) -> Scanned:
        scanned.extend(task.parts)
        return scan_parts(task, *rest)

    monkeypatch.setattr("curator_pipelines.stages.scan.scan_parts", noted)

    summary = run(out=str(grown), **settings)

    assert scanned == [5]
    assert summary.results[""].selection["candidates"] == 30_000
    run(out=str(fresh), **settings)
    for name in ("selection/selected.parquet", "selection/next.parquet", "kept_scan.npz"):
        assert (grown / name).read_bytes() == (fresh / name).read_bytes(), name
    for spoil in (lambda file: file.unlink(), lambda file: file.write_bytes(b"no archive"), None):
        scanned.clear()
        (grown / "selection" / "selection.json").unlink()
        if spoil:
            spoil(grown / "kept_scan.npz")
        run(out=str(grown), **settings)
        assert sorted(scanned) == (list(range(6)) if spoil else [])
    run(out=str(grown), **settings, redo="select")
    assert sorted(scanned) == list(range(6))
