import json
import shutil

import numpy as np
import pytest
from jobs_for_tests import inodes

from curator.errors import InputError
from curator.index import IndexStore, store
from curator_pipelines.config import IndexConfig, build
from curator_pipelines.executors import InProcessExecutor
from curator_pipelines.jobs import index as job
from curator_pipelines.progress import Reporter


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """A shard a part, built in this process."""
    monkeypatch.setattr(store, "SHARD_BYTES", 1)
    monkeypatch.setattr(job, "make_executor", lambda *arguments: InProcessExecutor())


@pytest.fixture
def out(reference, tmp_path):
    shutil.copytree(reference, tmp_path / "run")
    return tmp_path / "run"


def index(out, **settings):
    return job.run_index(build(IndexConfig, {"out": str(out), "factory": "IVF8,Flat"} | settings), Reporter())


def test_an_index_is_built_once_and_selects_what_exact_search_does(out, run, settings):
    exact = json.loads((out / "selection" / "selection.json").read_text())
    summary = index(out)
    assert (summary.rows, summary.shards, summary.built) == (exact["candidates"], 4, 4)
    assert index(out).built == 0
    ids = np.load(out / "index" / "shards" / "00000000" / "ids.npy")
    assert len(ids) == 9
    told = run(out=str(out), **settings, search="ivf", recall=1.0)
    record = told.selection
    assert (record["search"], record["recall"], record["index"]["proven"]) == ("ivf", 1.0, True)
    assert {name: record[name] for name in ("count", "last_mean", "excluded")} == {
        name: exact[name] for name in ("count", "last_mean", "excluded")
    }
    assert "search      ivf: nothing missed, proven" in told.to_text()


def test_newer_parts_need_add_and_old_shards_stay(out):
    index(out)
    folder = out / "index" / "shards"
    # As if the last part had been embedded after the index was built.
    for mark in (out / "index" / "done").glob("00000003-*"):
        mark.unlink()
    shutil.rmtree(folder / "00000003")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.np*")}
    with pytest.raises(InputError, match="lacks 1 newer parts of the pool: add them with --add"):
        index(out)
    assert index(out, add=True).built == 1
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(IndexStore(str(out / "index")).finished()) == 4


def test_select_builds_the_index_it_lacks(out, run, settings):
    record = run(out=str(out), **settings, search="ivf").selection
    assert record["search"] == "ivf"
    assert record["index"]["low"] <= (record["recall"] or 0) <= record["index"]["high"] or record["recall"] is None


def test_what_cannot_be_indexed_is_refused(out, tmp_path):
    with pytest.raises(InputError, match="holds no embedded pool: run `curator embed"):
        index(tmp_path / "nothing")
    index(out)
    with pytest.raises(InputError, match="is IVF8,Flat, not IVF9,Flat"):
        index(out, factory="IVF9,Flat")


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


def test_a_run_over_all_of_an_indexed_pool_uses_its_index(out, run, settings, tmp_path):
    index(out)
    asked = settings | {"pool": [str(out / "pool")], "search": "ivf", "recall": 1.0}

    told = run(out=str(tmp_path / "second"), **asked)

    assert not (tmp_path / "second" / "index").exists()
    used = told.selection["index"]["used"]
    assert (used["url"], used["factory"]) == (str(out / "index"), "IVF8,Flat")
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
