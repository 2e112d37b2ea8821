from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from curator.errors import CuratorError
from curator.io import parquet, schemas, storage
from curator.packing import finish as finish_module, ranges, write
from curator.packing.finish import begin_packing, finish_packing, is_packed, read_sizes, write_manifest_only
from curator.packing.plan import plan_hash, plan_shards
from curator.packing.write import pack_shard


def plan_of(pool, ids=None, size=8, seed=0):
    return plan_shards(pool.store, pool.chosen(ids), size, seed)


def pack_all(pool, plan):
    """As the driver does it; returns the numbers that were packed."""
    done = begin_packing(pool.out, plan)
    missing = [unit for unit in plan if unit.number not in done]
    for unit in missing:
        pack_shard(pool.store, unit, pool.out)
    finish_packing(pool.out, plan)
    return [unit.number for unit in missing]


def shards_url(pool, *names):
    return storage.join(pool.out, "shards", *names)


@pytest.fixture
def somewhere(make_pool, make_tar, make_entries, anywhere):
    return make_pool(anywhere, [make_tar(make_entries(10, 2000, seed)) for seed in range(2)])


def tree(url):
    return {name: storage.read_bytes(storage.join(url, name)) for name, _ in storage.list_tree(url)}


def test_a_finished_packing(somewhere):
    plan = plan_of(somewhere)
    assert not is_packed(somewhere.out, plan)
    assert pack_all(somewhere, plan) == [0, 1, 2]
    names = [f"curated-{number:06d}.tar" for number in range(3)]
    assert storage.list_names(shards_url(somewhere)) == [*names, "manifest.parquet", "sizes.json"]
    assert storage.list_tree(storage.join(somewhere.out, "packing")) == []
    assert read_sizes(somewhere.out) == dict(zip(names, [8, 8, 4], strict=True))
    assert is_packed(somewhere.out, plan)
    table = parquet.read_table(shards_url(somewhere, "manifest.parquet"), schemas.MANIFEST)
    assert table["id"].to_pylist() == [i for unit in plan for i in unit.ids[unit.order()].tolist()]
    assert table.schema.remove_metadata() == schemas.MANIFEST.remove_metadata()
    assert table.schema.metadata[b"curator.plan"].decode() == plan_hash(plan)


def test_a_resumed_run_packs_only_what_is_missing_and_gives_the_same_bytes(somewhere, monkeypatch):
    plan = plan_of(somewhere, size=5)
    pack_all(somewhere, plan)
    undisturbed = tree(shards_url(somewhere))
    storage.remove(shards_url(somewhere))

    fetch_reads, calls = ranges.fetch_reads, []

    def breaking(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        yield from fetch_reads(*arguments)

    monkeypatch.setattr(write, "fetch_reads", breaking)
    with pytest.raises(KeyboardInterrupt):
        pack_all(somewhere, plan)
    assert storage.list_names(shards_url(somewhere)) == ["curated-000000.tar", "curated-000001.tar"]
    before = storage.stat(shards_url(somewhere, "curated-000000.tar"))
    assert pack_all(somewhere, plan) == [2, 3]
    assert storage.stat(shards_url(somewhere, "curated-000000.tar")) == before
    assert tree(shards_url(somewhere)) == undisturbed


def test_a_tar_without_its_mark_and_a_mark_without_its_tar_are_packed_again(somewhere):
    plan = plan_of(somewhere)
    for unit in plan:
        pack_shard(somewhere.store, unit, somewhere.out)
    storage.remove(plan[0].mark_url(somewhere.out))
    storage.remove(plan[2].url(somewhere.out))
    assert begin_packing(somewhere.out, plan) == {1}
    assert storage.list_names(storage.join(somewhere.out, "packing")) == [plan[1].mark_name]


def test_the_marks_of_another_plan_count_for_nothing(somewhere):
    old, new = plan_of(somewhere), plan_of(somewhere, seed=1)
    for unit in old:
        pack_shard(somewhere.store, unit, somewhere.out)
    assert begin_packing(somewhere.out, new) == set()
    assert storage.list_names(storage.join(somewhere.out, "packing")) == []
    # Back to the old plan while the tars may be of either: none may be taken for done.
    pack_shard(somewhere.store, new[0], somewhere.out)
    assert begin_packing(somewhere.out, old) == set()


def test_packing_fewer_shards_removes_the_surplus(somewhere):
    pack_all(somewhere, plan_of(somewhere, size=4))
    fewer = plan_of(somewhere, somewhere.ids[:9], size=4)
    assert not is_packed(somewhere.out, fewer)
    pack_all(somewhere, fewer)
    assert sorted(read_sizes(somewhere.out)) == [f"curated-{number:06d}.tar" for number in range(3)]
    tars = [name for name in storage.list_names(shards_url(somewhere)) if name.endswith(".tar")]
    assert tars == sorted(read_sizes(somewhere.out))
    assert is_packed(somewhere.out, fewer)


def test_sizes_go_first_then_the_manifest_and_they_come_back_last(pool, monkeypatch):
    pack_all(pool, plan_of(pool, size=4))
    events = []
    remove, remove_files, write_file = storage.remove, storage.remove_files, storage.write_file

    def name_of(url):
        return url.rpartition("/")[2]

    monkeypatch.setattr(storage, "remove", lambda url: (events.append(f"- {name_of(url)}"), remove(url)))
    monkeypatch.setattr(
        storage, "remove_files", lambda urls: (events.extend(f"- {name_of(url)}" for url in urls), remove_files(urls))
    )
    monkeypatch.setattr(
        storage, "write_file", lambda url, *size: (events.append(f"+ {name_of(url)}"), write_file(url))[1]
    )
    pack_all(pool, plan_of(pool, size=50))
    assert events[:2] == ["- sizes.json", "- manifest.parquet"]
    assert events[2].startswith("- curated-")
    assert events[-3:] == ["+ manifest.parquet", "+ sizes.json", "- packing"]
    assert events.index("+ curated-000000.tar") > max(i for i, e in enumerate(events) if e.startswith("- curated"))


def test_killed_between_manifest_and_sizes(pool, monkeypatch):
    plan = plan_of(pool)

    def killed(url, data):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            pack_all(pool, plan)
    assert storage.exists(shards_url(pool, "manifest.parquet"))
    assert not is_packed(pool.out, plan)
    assert pack_all(pool, plan) == []
    assert is_packed(pool.out, plan)


def test_finishing_too_early_is_refused_and_writes_nothing(pool):
    plan = plan_of(pool)
    for unit in plan[:-1]:
        pack_shard(pool.store, unit, pool.out)
    with pytest.raises(CuratorError, match=f"{plan[-1].name} is not packed"):
        finish_packing(pool.out, plan)
    assert "manifest.parquet" not in storage.list_names(shards_url(pool))


@pytest.mark.parametrize("victim", ["sizes.json", "manifest.parquet", "curated-000001.tar"])
def test_what_is_missing_makes_it_not_current(pool, victim):
    plan = plan_of(pool)
    pack_all(pool, plan)
    storage.remove(shards_url(pool, victim))
    assert not is_packed(pool.out, plan)


@pytest.mark.parametrize("name", ["sizes.json", "manifest.parquet"])
@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"nonsense" * 10])
def test_what_is_damaged_makes_it_not_current(pool, name, data):
    plan = plan_of(pool)
    pack_all(pool, plan)
    storage.write_bytes(shards_url(pool, name), data)
    assert not is_packed(pool.out, plan)


def test_another_plan_is_not_current(pool):
    pack_all(pool, plan_of(pool))
    assert not is_packed(pool.out, plan_of(pool, seed=1))
    assert not is_packed(pool.out, plan_of(pool, pool.ids[:-1]))


def test_what_killed_writers_left_is_removed(pool, tmp_path):
    left = tmp_path / "run" / "shards" / f".curated-000000.tar.abc{storage.TEMPORARY}"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    begin_packing(pool.out, plan_of(pool))
    assert not left.exists()


def test_the_manifest_is_put_together_unit_by_unit(pool):
    pack_all(pool, plan_of(pool, size=25))
    with pq.ParquetFile(tmp := storage.local_path(shards_url(pool, "manifest.parquet"))) as file:
        groups = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
    assert groups == [25, 25, 10], tmp


def test_an_empty_selection_is_an_empty_packing(pool):
    plan = plan_of(pool, np.array([], np.int64))
    assert plan == []
    pack_all(pool, plan)
    assert read_sizes(pool.out) == {}
    assert is_packed(pool.out, plan)


def test_sizes_are_plain_json_in_order(pool):
    pack_all(pool, plan_of(pool, size=25))
    text = storage.read_bytes(shards_url(pool, "sizes.json")).decode()
    assert list(json.loads(text)) == [f"curated-{number:06d}.tar" for number in range(3)]


def test_a_manifest_alone(somewhere, monkeypatch):
    monkeypatch.setattr(finish_module, "BLOCK_ROWS", 3)
    pack_all(somewhere, plan_of(somewhere))
    chosen = somewhere.chosen(somewhere.ids[::2])
    write_manifest_only(somewhere.store, chosen, somewhere.out)
    assert storage.list_names(shards_url(somewhere)) == ["manifest.parquet"]
    rows = parquet.read_table(shards_url(somewhere, "manifest.parquet"), schemas.MANIFEST).to_pylist()
    assert [row["id"] for row in rows] == chosen.ids.tolist()
    assert {(row["out_shard"], row["out_key"]) for row in rows} == {(None, None)}
    assert [row["round"] for row in rows] == chosen.round.tolist()
    for row in rows:
        sample = somewhere.samples[row["id"]]
        assert (row["shard"], row["key"], row["offset"]) == (sample.shard, sample.key, sample.image.offset)
    assert not is_packed(somewhere.out, plan_of(somewhere))


def test_a_manifest_of_ready_embeddings_keeps_what_is_unknown_null(pool):
    url = pool.store.metadata_url(0)
    rows = parquet.read_table(url, schemas.METADATA).to_pylist()
    for row in rows:
        row |= {"shard": None, "offset": None, "size": None, "sha256": None, "members": None}
    parquet.write_table(url, schemas.METADATA, rows)
    write_manifest_only(pool.store, pool.chosen(pool.ids[:5]), pool.out)
    found = parquet.read_table(shards_url(pool, "manifest.parquet"), schemas.MANIFEST).to_pylist()
    assert [(row["key"], row["shard"], row["members"]) for row in found] == [
        (rows[index]["image_path"], None, None) for index in range(5)
    ]
