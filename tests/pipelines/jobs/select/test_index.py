import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from jobs_for_tests import (
    DyingIndexStage,
    DyingMergeStage,
    assert_same_bytes,
    differing,
    driver,
    files_of,
    inodes,
    is_running,
    temporaries,
    until,
)

from curator.errors import InputError, UnusableInput
from curator.index import IndexStore, merge, store
from curator.io import storage
from curator_pipelines.config.select import IndexConfig, build
from curator_pipelines.executors import InProcessExecutor, LocalExecutor
from curator_pipelines.jobs.select import index as job
from curator_pipelines.run.progress import Reporter


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """A shard a part, built in this process, and not put together."""
    monkeypatch.setattr(store, "PIECE_BYTES", 1)
    monkeypatch.setattr(merge, "MOST_RUNS", 4)
    monkeypatch.setattr(job, "make_executor", lambda *arguments: InProcessExecutor())


@pytest.fixture
def out(reference, tmp_path):
    shutil.copytree(reference, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(params=["IVF8,Flat", "IVF8,SQ8"])
def factory(request):
    """Of an index that keeps rows, and of one that keeps codes."""
    return request.param


# Where an index of codes says nearly all that one of rows would.
CODES_AND_ROWS = ["IVF8,SQ8", pytest.param("IVF8,Flat", marks=pytest.mark.slow)]


def index(out, **settings):
    return job.run_index(build(IndexConfig, {"out": str(out), "factory": "IVF8,Flat"} | settings), Reporter())


def test_an_index_is_built_once_and_selects_what_exact_search_does(out, run, settings, factory):
    exact = json.loads((out / "selection" / "selection.json").read_text())
    summary = index(out, factory=factory)
    assert (summary.rows, summary.pieces, summary.built) == (exact["candidates"], 4, 4)
    assert index(out, factory=factory).built == 0
    ids = np.load(out / "index" / "pieces" / "00000000" / "ids.npy")
    assert len(ids) == 9
    told = run(out=str(out), **settings, search="ivf", recall=1.0)
    record = told.selection
    assert (record["search"], record["recall"], record["index"]["proven"]) == ("ivf", 1.0, True)
    assert {name: record[name] for name in ("count", "last_mean", "skipped")} == {
        name: exact[name] for name in ("count", "last_mean", "skipped")
    }
    assert "search      ivf: nothing missed, proven" in told.to_text()


@pytest.fixture
def undisturbed(out, factory, tmp_path):
    """The files of an index that nothing happened to."""
    shutil.copytree(out, tmp_path / "undisturbed")
    index(tmp_path / "undisturbed", factory=factory)
    return index_files(tmp_path / "undisturbed")


def index_files(out):
    return {name: data for name, data in files_of(str(out)).items() if name.startswith("index/")}


def test_a_build_killed_in_the_middle_goes_on_to_the_same_bytes(out, factory, undisturbed, tmp_path):
    program = Path(__file__).parents[1] / "index_for_tests.py"
    with driver([str(out), factory], program=[str(program)]) as started:
        until((tmp_path / "begun").exists, "the worker has written a shard, and not its done-mark")
        workers = started.workers
        started.process.kill()
        started.wait()
        until(lambda: not any(map(is_running, workers)), "the workers end with their driver")
    assert len(workers) == 1
    assert [path.name[:8] for path in sorted((out / "index" / "done").iterdir())] == ["00000000", "00000001"]
    before = inodes(out / "index")

    assert index(out, factory=factory).built == 2

    assert differing(index_files(out), undisturbed) == []
    after = inodes(out / "index")
    kept = [
        name
        for name in before
        if name.startswith(("index.json", "quantiser", "codec", "pieces/00000000", "done/00000001"))
    ]
    assert len(kept) == 8 + (factory == "IVF8,SQ8") and all(after[name] == before[name] for name in kept)
    assert not temporaries(out)


@pytest.mark.parametrize("where", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_killed_worker_changes_nothing(out, factory, undisturbed, monkeypatch, make_ray, where):
    executor = make_ray(2) if where == "ray" else LocalExecutor(workers=2)
    monkeypatch.setattr(job, "make_executor", lambda *arguments: executor)
    monkeypatch.setattr(job, "IndexStage", DyingIndexStage)

    assert index(out, factory=factory).built == 4

    assert differing(index_files(out), undisturbed) == []
    assert not temporaries(out)


def test_newer_parts_need_add_and_old_shards_stay(out, factory):
    index(out, factory=factory)
    folder = out / "index" / "pieces"
    # As if the last part had been embedded after the index was built.
    for mark in (out / "index" / "done").glob("00000003-*"):
        mark.unlink()
    shutil.rmtree(folder / "00000003")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.np*")}
    with pytest.raises(InputError, match="lacks 1 part of the pool as it is now: give add=True"):
        index(out, factory=factory)
    assert index(out, factory=None, add=True).built == 1
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(IndexStore(str(out / "index")).finished()) == 4


def test_select_builds_the_index_it_lacks(out, run, settings):
    record = run(out=str(out), **settings, search="ivf").selection
    assert record["search"] == "ivf"
    assert record["index"]["low"] <= (record["recall"] or 0) <= record["index"]["high"] or record["recall"] is None


def test_few_samples_train_no_product_quantiser(out):
    with pytest.raises(UnusableInput, match="rows cannot train PQ16, which needs 256: give factory='IVF8,SQ8'"):
        index(out, factory="IVF8,PQ16")
    assert index(out, factory="IVF8,SQ8").built == 4


def test_what_cannot_be_indexed_is_refused(out, tmp_path):
    with pytest.raises(InputError, match="no embedded pool is there: embed the pool into it first"):
        index(tmp_path / "nothing")
    index(out)
    with pytest.raises(InputError, match=r"factory='IVF9,Flat': .* was made with IVF8,Flat"):
        index(out, factory="IVF9,Flat")
    with pytest.raises(InputError, match=r"factory='IVF8,SQ8': .* was made with IVF8,Flat"):
        index(out, factory="IVF8,SQ8")


@pytest.mark.slow
def test_several_targets_without_duplicates_are_those_of_exact_search(run, settings, tmp_path):
    (target,) = settings["target"]
    asked = settings | {"target": [f"one={target}", f"two={target}/deep"], "dedup": 0.9}
    run(out=str(tmp_path / "exact"), **asked)

    run(out=str(tmp_path / "ivf"), **asked, search="ivf", recall=1.0)

    for name in ("one", "two"):
        exact, ivf = (tmp_path / kind / name / "selection/selected.parquet" for kind in ("exact", "ivf"))
        assert ivf.read_bytes() == exact.read_bytes()


def test_another_pool_takes_the_index_along(out, run, settings):
    index(out)
    run(out=str(out), **settings | {"redo": "pool"})
    assert not (out / "index").exists()


@pytest.mark.slow
def test_a_run_over_all_of_an_indexed_pool_uses_its_index(out, factory, run, settings, tmp_path):
    index(out, factory=factory)
    asked = settings | {"pool": [str(out / "pool")], "search": "ivf", "recall": 1.0}

    told = run(out=str(tmp_path / "second"), **asked)

    assert not (tmp_path / "second" / "index").exists()
    used = told.selection["index"]["used"]
    assert (used["url"], used["factory"]) == (str(out / "index"), factory)
    first, second = (folder / "selection/selected.parquet" for folder in (out, tmp_path / "second"))
    assert first.read_bytes() == second.read_bytes()
    before = inodes(tmp_path / "second" / "selection")
    run(out=str(tmp_path / "second"), **asked)
    assert inodes(tmp_path / "second" / "selection") == before


@pytest.mark.parametrize("change", ["another part beside it", "fewer parts in the index", "parts in another order"])
def test_a_pool_that_is_not_the_indexed_one_gets_its_own_index(out, run, settings, own_data, tmp_path, change):
    index(out)
    pool = [str(out / "pool")]
    if change == "another part beside it":
        (own_data / "pool-9.tar").write_bytes((own_data / "pool-2.tar").read_bytes())
        pool.append(str(own_data / "pool-9.tar"))
    elif change == "fewer parts in the index":
        next((out / "index" / "done").iterdir()).unlink()
    else:
        pool.insert(0, settings["pool"][2])

    told = run(out=str(tmp_path / "second"), **settings | {"pool": pool, "search": "ivf"})

    assert told.selection["index"]["used"]["url"] == "index"
    assert (tmp_path / "second" / "index" / "index.json").exists()


@pytest.mark.parametrize("where", ["local", pytest.param("ray", marks=pytest.mark.slow)])
@pytest.mark.parametrize("factory", CODES_AND_ROWS, indirect=True)
def test_lists_are_scanned_by_workers_to_the_same_bytes(out, factory, run, run_on, settings, tmp_path, make_ray, where):
    index(out, factory=factory)
    asked = settings | {"pool": [str(out / "pool")], "search": "ivf", "recall": 0.9}
    run(out=str(tmp_path / "alone"), **asked)

    executor = make_ray(2) if where == "ray" else LocalExecutor(workers=2)
    told = run_on(executor, out=str(tmp_path / "many"), **asked)

    assert told.selection["search"] == "ivf"
    assert_same_bytes(str(tmp_path / "many"), str(tmp_path / "alone"))


@pytest.mark.slow
def test_an_index_on_s3_is_read_by_ranges(run, factory, settings, s3_bucket, reference):
    run(out=f"{s3_bucket}/run", **settings)
    assert index(f"{s3_bucket}/run", factory=factory).built == 4

    told = run(out=f"{s3_bucket}/run", **settings, search="ivf", recall=1.0)

    assert told.selection["index"]["proven"] and told.selection["index"]["used"]["factory"] == factory
    exact = (reference / "selection/selected.parquet").read_bytes()
    assert storage.read_bytes(f"{s3_bucket}/run/selection/selected.parquet") == exact


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("factory", CODES_AND_ROWS, indirect=True)
def test_many_pieces_are_put_together_and_select_the_same(out, run, settings, factory, monkeypatch, workers):
    """Of four pieces three become one."""
    monkeypatch.setattr(merge, "MOST_RUNS", 2)
    if workers:
        monkeypatch.setattr(job, "make_executor", lambda *arguments: LocalExecutor(workers=workers))
    index(out, factory=factory)
    again = index(out, factory=factory)
    assert (again.pieces, again.built) == (4, 0)
    (made,) = IndexStore(str(out / "index")).merges()
    assert len(made.built) == 3
    assert len(list((out / "index").rglob("ids.npy"))) == 2
    record = run(out=str(out), **settings, search="ivf", recall=1.0).selection
    assert record["index"]["proven"]
    exact = run(out=str(out), **settings).selection
    assert record["identity"] != exact["identity"]
    assert not temporaries(out)


@pytest.mark.parametrize("where", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_worker_killed_while_pieces_are_put_together_changes_nothing(
    out, factory, monkeypatch, make_ray, where, tmp_path
):
    monkeypatch.setattr(merge, "MOST_RUNS", 2)
    shutil.copytree(out, tmp_path / "undisturbed")
    index(tmp_path / "undisturbed", factory=factory)
    executor = make_ray(2) if where == "ray" else LocalExecutor(workers=2)
    monkeypatch.setattr(job, "make_executor", lambda *arguments: executor)
    monkeypatch.setattr(job, "MergeStage", DyingMergeStage)

    index(out, factory=factory)

    assert len(IndexStore(str(out / "index")).merges()) == 1
    assert differing(index_files(out), index_files(tmp_path / "undisturbed")) == []
    assert not temporaries(out)


@pytest.mark.slow
def test_pieces_are_put_together_on_s3(run, factory, settings, s3_bucket, reference, monkeypatch):
    monkeypatch.setattr(merge, "MOST_RUNS", 2)
    run(out=f"{s3_bucket}/run", **settings)
    index(f"{s3_bucket}/run", factory=factory)
    (made,) = IndexStore(f"{s3_bucket}/run/index").merges()
    assert len(made.built) == 3

    told = run(out=f"{s3_bucket}/run", **settings, search="ivf", recall=1.0)

    assert told.selection["index"]["proven"]
    exact = (reference / "selection/selected.parquet").read_bytes()
    assert storage.read_bytes(f"{s3_bucket}/run/selection/selected.parquet") == exact
