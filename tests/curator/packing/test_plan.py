from __future__ import annotations

import pickle

import numpy as np
import pytest

from curator.errors import InputError, UnusableInput
from curator.io import parquet, schemas, storage
from curator.packing.plan import OutputShard, SelectedRows, check_packable, plan_hash, plan_shards


def plan(pool, chosen=None, size=8, seed=0):
    return plan_shards(pool.store, chosen or pool.chosen(), size, seed)


def test_chosen_comes_in_pool_order_whatever_the_order_of_choice():
    chosen = SelectedRows.in_pool_order(np.array([7, 3, 5]), [0.7, 0.3, 0.5], [70, 30, 50], [1, 2, 3])
    assert chosen.ids.tolist() == [3, 5, 7]
    assert chosen.centroid.tolist() == [30, 50, 70]
    assert chosen.round.tolist() == [2, 3, 1]
    assert chosen.score.dtype == np.float32
    assert chosen.score.tolist() == [np.float32(0.3), 0.5, np.float32(0.7)]


def test_an_id_chosen_twice_is_refused():
    with pytest.raises(UnusableInput, match="id 3 twice"):
        SelectedRows.in_pool_order(np.array([3, 1, 3]), [0, 0, 0], [0, 0, 0], [0, 0, 0])


def test_runs_of_shard_size_in_pool_order(pool):
    shards = plan(pool, size=25)
    assert [len(shard.ids) for shard in shards] == [25, 25, 10]
    assert np.concatenate([shard.ids for shard in shards]).tolist() == pool.ids.tolist()
    assert [shard.name for shard in shards][1:] == ["curated-000001.tar", "curated-000002.tar"]


def test_every_shard_is_shuffled_in_an_order_of_its_own(pool):
    orders = [shard.order().tolist() for shard in plan(pool, size=20)]
    assert all(sorted(order) == list(range(20)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert [shard.order().tolist() for shard in plan(pool, size=20)] == orders
    assert plan(pool, size=20, seed=1)[0].order().tolist() != orders[0]


def test_the_order_is_pinned():
    # A change here changes the bytes of every packed shard.
    n = 6
    shard = OutputShard(3, SelectedRows.in_pool_order(np.arange(n), np.zeros(n), np.zeros(n), np.zeros(n)), 0, "", {})
    assert shard.order().tolist() == [1, 3, 0, 5, 2, 4]


def test_identity_says_what_a_units_bytes_depend_on(pool):
    base = plan(pool)[0].identity
    assert plan(pool)[0].identity == base
    chosen = pool.chosen()
    other_score = SelectedRows(chosen.ids, chosen.score + 1, chosen.centroid, chosen.round)
    other_centroid = SelectedRows(chosen.ids, chosen.score, chosen.centroid + 1, chosen.round)
    other_round = SelectedRows(chosen.ids, chosen.score, chosen.centroid, chosen.round + 1)
    different = [
        plan(pool, seed=1)[0],
        plan(pool, pool.chosen(pool.ids[1:]))[0],
        plan(pool, other_score)[0],
        plan(pool, other_centroid)[0],
        plan(pool, other_round)[0],
        plan(pool, size=7)[0],
    ]
    assert len({base, *(shard.identity for shard in different)}) == 7


def test_identity_of_a_unit_does_not_depend_on_the_rest_of_the_plan(pool):
    first = pool.chosen().cut(0, 8)
    assert plan(pool, first, size=8)[0].identity == plan(pool, first, size=1000)[0].identity
    assert plan(pool, first)[0].identity == plan(pool)[0].identity


def test_identity_changes_with_the_source(pool):
    before = [shard.identity for shard in plan(pool, size=20)]
    rows = parquet.read_table(storage.join(pool.store.url, "parts.parquet"), schemas.PARTS).to_pylist()
    rows[1]["version"] = "another"
    parquet.write_table(storage.join(pool.store.url, "parts.parquet"), schemas.PARTS, rows)
    after = [shard.identity for shard in plan(pool, size=20)]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]


def test_plan_hash_covers_every_unit(pool):
    assert plan_hash(plan(pool)) == plan_hash(plan(pool))
    assert plan_hash(plan(pool)) != plan_hash(plan(pool)[:-1])


def test_a_unit_travels_to_a_worker(pool):
    shard = plan(pool)[1]
    copy = pickle.loads(pickle.dumps(shard))
    assert (copy.number, copy.seed, copy.identity) == (shard.number, shard.seed, shard.identity)
    assert copy.ids.tolist() == shard.ids.tolist()


@pytest.mark.parametrize("size", [0, -3])
def test_an_impossible_shard_size_is_refused(pool, size):
    with pytest.raises(InputError, match=f"shard_size={size}: an output shard holds at least 1 sample"):
        plan(pool, size=size)


def test_an_id_of_no_part_is_refused(pool):
    with pytest.raises(UnusableInput, match="part 9"):
        plan(pool, pool.chosen(np.array([0, 9 << 32])))


def test_only_tars_can_be_packed(pool):
    check_packable(pool.store)
    url = storage.join(pool.store.url, "parts.parquet")
    rows = parquet.read_table(url, schemas.PARTS).to_pylist()
    for kind, message in (
        ("embeddings", "give manifest_only=True"),
        ("folder", "is a folder, and samples are packed from tar shards only: give manifest_only=True"),
    ):
        rows[2]["kind"] = kind
        parquet.write_table(url, schemas.PARTS, rows)
        with pytest.raises(UnusableInput, match=message):
            check_packable(pool.store)
