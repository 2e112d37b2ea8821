"""What users ask of a pool beside "what is near": no duplicates, nothing of the evaluation set, several targets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jobs_for_tests import files_of, picture, table

from curator.errors import InputError
from curator_pipelines.config.select import PackConfig
from curator_pipelines.executors import InProcessExecutor
from curator_pipelines.jobs.queries.verify_run import verify
from curator_pipelines.jobs.select import pack
from curator_pipelines.run.progress import Reporter

Run = Callable[..., Any]


@pytest.fixture
def evaluation(tmp_path: Path) -> str:
    """Two pictures of the pool, and one that it does not hold."""
    (tmp_path / "evaluation").mkdir()
    for name, seed in (("a", 202), ("b", 401), ("c", 999)):
        (tmp_path / "evaluation" / f"{name}.png").write_bytes(picture(seed, "PNG"))
    return str(tmp_path / "evaluation")


def names(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(row["shard"].rpartition("/")[2], row["key"]) for row in rows]


def test_evaluation_images_and_duplicates_stay_out(
    run: Run, settings: dict[str, Any], evaluation: str, tmp_path: Path
) -> None:
    out = str(tmp_path / "run")
    whole = settings | {"budget": "1000", "out": out, "exclude": [evaluation], "exclude_above": 0.999, "dedup": 0.999}

    run(**whole)

    skipped = {name: row for row in table(out, "selection", "skipped.parquet") for name in names([row])}
    near = {name: row["because"] for name, row in skipped.items() if row["reason"] == "near_evaluation"}
    # 401 stands at 0001 of the last shard, where the data has another picture, so it is not in the pool.
    assert near == {("pool-1.tar", "0002"): f"{evaluation}\ta.png"}
    copies = [(name, row) for name, row in skipped.items() if row["reason"] == "duplicate"]
    assert [name for name, _ in copies] == [("pool-3.tar", "0001")]
    chosen = table(out, "selection", "selected.parquet")
    assert not set(names(chosen)) & set(skipped)
    manifest = {name: row["stands_for"] for row in table(out, "shards", "manifest.parquet") for name in names([row])}
    kept = ("pool-1.tar", "0001")
    assert [(line["key"], line["shard"][-10:]) for line in manifest.pop(kept)] == [("0001", "pool-3.tar")]
    assert set(map(str, manifest.values())) == {"[]"}
    assert copies[0][1]["because"].endswith("pool-1.tar\t0001")
    assert copies[0][1]["match"] == next(row["id"] for row in chosen if names([row]) == [kept])
    assert verify(out, Reporter()).differences == []

    # The first of any run are the run with that budget.
    run(**whole | {"budget": "30"})
    assert table(out, "selection", "selected.parquet") == chosen[:30]


def test_another_evaluation_set_is_another_run(
    run: Run, settings: dict[str, Any], evaluation: str, tmp_path: Path
) -> None:
    whole = settings | {"out": str(tmp_path / "run"), "exclude": [evaluation]}
    run(**whole)
    first = files_of(whole["out"])
    (Path(evaluation) / "d.png").write_bytes(picture(203, "PNG"))
    with pytest.raises(InputError, match="redo='exclude'"):
        run(**whole)
    run(**whole, redo="exclude")
    second = files_of(whole["out"])
    assert first["exclude/img_emb/img_emb_00000000.npy"] != second["exclude/img_emb/img_emb_00000000.npy"]
    assert first["pool/img_emb/img_emb_00000000.npy"] == second["pool/img_emb/img_emb_00000000.npy"]


def test_several_targets_are_as_so_many_runs(
    run: Run, settings: dict[str, Any], data: Path, evaluation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = str(data / "target" / "deep")
    both = settings | {"dedup": 0.999, "exclude": [evaluation], "clusters": 3}
    out = str(tmp_path / "both")

    run(**both | {"out": out, "target": [f"all={data}/target", f"deep={deep}"]})

    together = files_of(out)
    for name, target in (("all", str(data / "target")), ("deep", deep)):
        alone = str(tmp_path / name)
        run(**both | {"out": alone, "target": [target]})
        for file, content in files_of(alone).items():
            own = file.startswith(("selection/", "shards/", "target/"))
            if file != "quarantine.parquet":
                assert together[f"{name}/{file}" if own else file] == content, file
    assert verify(out, Reporter()).differences == []

    monkeypatch.setattr(pack, "make_executor", lambda *arguments: InProcessExecutor())
    packed = pack.run_pack(PackConfig(out=out, shard_size=6, seed=3), Reporter())
    assert [result.reused for result in packed.values()] == [True, True]
    with pytest.raises(InputError, match="named targets"):
        run(**both | {"out": out})
    with pytest.raises(InputError, match="another use"):
        run(**both | {"out": out, "target": [f"pool={deep}", f"deep={deep}"]})
