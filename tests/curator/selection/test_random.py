import numpy as np
import pytest

from curator.errors import InputError
from curator.selection import Rules, deny, select_random

MASK = 2**64 - 1


def splitmix64(state):
    """Steele, Lea, Flood 2014, in Python integers."""
    z = (state + 0x9E3779B97F4A7C15) & MASK
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def slow_random(ids, seed):
    return sorted(ids, key=lambda number: (splitmix64(splitmix64(seed & MASK) ^ number), number))


def pool_of(twin, *lengths):
    return twin.ArrayPool([np.zeros((n, 1), np.float16) for n in lengths])


@pytest.mark.parametrize("budget", [1, 5, 29, 30])
def test_the_smallest_priorities(twin, budget):
    pool = pool_of(twin, 10, 0, 20)
    found = select_random(pool, Rules(budget=budget), seed=3)
    assert found.ids.tolist() == slow_random(pool.rows(), 3)[:budget]
    assert (found.stop_reason, found.not_reached) == ("budget", 30 - budget)
    assert np.isnan(found.scores).all()
    assert set(found.anchors.tolist()) == set(found.rounds.tolist()) == {-1}


def test_more_rows_than_are_held(twin):
    pool = pool_of(twin, 9000, 9000, 9000)
    found = select_random(pool, Rules(budget=100), seed=0)
    assert found.ids.tolist() == slow_random(pool.rows(), 0)[:100]


def test_order_of_parts_and_content_change_nothing(twin):
    backwards = twin.ArrayPool({1: np.ones((20, 3), np.float16), 0: np.ones((10, 3), np.float16)})
    first = select_random(pool_of(twin, 10, 20), Rules(budget=12), seed=1)
    assert select_random(backwards, Rules(budget=12), seed=1).ids.tolist() == first.ids.tolist()


def test_new_parts_only_push_rows_out(twin):
    before = select_random(pool_of(twin, 50), Rules(budget=10), seed=1).ids.tolist()
    after = select_random(pool_of(twin, 50, 50), Rules(budget=10), seed=1).ids.tolist()
    old = [number for number in after if number < 50]
    assert old == before[: len(old)]


def test_seeds_differ_and_every_part_has_its_share(twin):
    pool = pool_of(twin, 2000, 2000)
    first, second = (select_random(pool, Rules(budget=1000), seed=seed).ids for seed in (0, 1))
    # Two draws of a quarter share a quarter of a quarter: 250, give or take 14.
    assert 180 < len(np.intersect1d(first, second)) < 320
    assert 430 < np.count_nonzero(first < 2000) < 570


def test_denied_rows_are_passed_over(twin):
    pool = pool_of(twin, 30)
    order = slow_random(pool.rows(), 0)
    found = select_random(pool, Rules(budget=3, new_filter=lambda: deny([order[0], order[2], order[20]])), seed=0)
    assert found.ids.tolist() == [order[1], order[3], order[4]]
    assert found.skipped.ids.tolist() == [order[0], order[2]]


def test_more_pages_where_many_rows_are_passed_over(twin, monkeypatch):
    monkeypatch.setattr("curator.selection.ordered_choice.LEAST_K", 2)
    pool = pool_of(twin, 60)
    order = slow_random(pool.rows(), 0)
    found = select_random(pool, Rules(budget=5, new_filter=lambda: deny(order[1:30])), seed=0)
    assert found.ids.tolist() == [order[0], *order[30:34]]
    assert found.skipped.ids.tolist() == order[1:30]
    assert found.passes == 3


def test_a_pool_that_runs_out(twin):
    found = select_random(pool_of(twin, 4), Rules(budget=5), seed=0)
    assert (len(found.ids), found.stop_reason) == (4, "pool_exhausted")
    assert select_random(twin.ArrayPool([]), Rules(budget=5), seed=0).candidates == 0


def test_a_budget_of_nothing(twin):
    with pytest.raises(InputError, match="budget=0"):
        select_random(pool_of(twin, 4), Rules(budget=0), seed=0)
