import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from curator.errors import InputError
from curator.selection import Rules, deny, select_knn


def slow_knn(twin, pool, targets, budget, denied=()):
    """[(id, score, target)] chosen and [(id, score, target)] skipped, by plain loops."""
    every = []
    for number, row in pool.rows().items():
        scores = [twin.score(row, target) for target in targets]
        every.append((number, float(max(scores)), scores.index(max(scores))))
    every.sort(key=lambda line: (-line[1], line[0]))
    chosen, passed = [], []
    for line in every:
        (passed if line[0] in denied else chosen).append(line)
        if len(chosen) == budget:
            break
    return chosen, passed


def lines(found):
    columns = (found.ids, found.scores, found.anchors)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_by_hand(twin):
    rows = np.array([[1, 0], [3, 4], [-1, 0], [0, 1], [4, 3]], np.float16)
    targets = np.array([[0, 2], [1, 0]], np.float16)
    found = select_knn(twin.ArrayPool([rows]), targets, Rules(budget=4))
    near = pytest.approx(0.8)
    assert lines(found) == [(0, 1.0, 1), (3, 1.0, 0), (1, near, 0), (4, near, 1)]
    assert found.rounds.tolist() == [-1] * 4
    assert len(found.rounds_table.round) == 0
    assert (found.stop_reason, found.candidates, found.not_reached) == ("budget", 5, 1)
    assert np.isnan([found.objective, found.reference_mean]).all()


def test_the_lowest_of_equal_targets_is_named(twin):
    targets = np.array([[0, 0], [0, 1], [1, 0], [0, 1], [1, 0]], np.float16)
    rows = np.array([[1, 0], [0, 1], [1, 1]], np.float16)
    assert select_knn(twin.ArrayPool([rows]), targets, Rules(budget=3)).anchors.tolist() == [2, 1, 1]


@given(data=st.data())
@settings(max_examples=80)
def test_equals_the_twin(twin, data):
    grid = st.lists(st.integers(-2, 2), min_size=2, max_size=2)
    rows = np.array(data.draw(st.lists(grid, min_size=1, max_size=25)), np.float16)
    targets = twin.unit_rows(data.draw(st.lists(grid.filter(any), min_size=1, max_size=6)))
    pool = twin.ArrayPool(twin.split(rows, data.draw(st.lists(st.integers(0, len(rows)), max_size=3))))
    denied = set(sorted(pool.rows())[:: data.draw(st.integers(1, 30))])
    budget = data.draw(st.integers(1, len(rows) + 2))
    found = select_knn(pool, targets, Rules(budget=budget, new_filter=lambda: deny(denied)), block_rows=4)
    chosen, passed = slow_knn(twin, pool, targets, budget, denied)
    assert lines(found) == chosen
    assert lines(found.skipped) == passed
    assert found.skipped.reasons == ["denied"] * len(passed)
    assert found.stop_reason == ("budget" if len(chosen) == budget else "pool_exhausted")


@pytest.mark.parametrize("block_rows", [1000, 16384])
def test_more_rows_than_are_held(twin, block_rows):
    rng = np.random.default_rng(0)
    pool = twin.ArrayPool(twin.split(rng.standard_normal((12000, 3)).astype(np.float16), [5000]))
    targets = twin.unit_rows(rng.standard_normal((4, 3)))
    found = select_knn(pool, targets, Rules(budget=40), block_rows=block_rows)
    assert lines(found) == slow_knn(twin, pool, targets, 40)[0]


def test_more_pages_where_many_rows_are_passed_over(twin, monkeypatch):
    monkeypatch.setattr("curator.selection.ordered_choice.LEAST_K", 2)
    pool = twin.ArrayPool([np.random.default_rng(1).standard_normal((60, 3)).astype(np.float16)])
    targets = np.eye(3, dtype=np.float32)
    order = [number for number, _, _ in slow_knn(twin, pool, targets, 60)[0]]
    found = select_knn(pool, targets, Rules(budget=5, new_filter=lambda: deny(order[1:30])))
    assert found.ids.tolist() == [order[0], *order[30:34]]
    assert found.skipped.ids.tolist() == order[1:30]
    assert found.passes == 3


def test_one_page_where_it_holds_the_whole_pool(twin, monkeypatch):
    monkeypatch.setattr("curator.selection.ordered_choice.LEAST_K", 2)
    pool = twin.ArrayPool([np.eye(5, dtype=np.float16)])
    found = select_knn(pool, np.eye(5, dtype=np.float32), Rules(budget=3, new_filter=lambda: deny([0, 1, 2])))
    assert (found.ids.tolist(), found.passes, found.stop_reason) == ([3, 4], 1, "pool_exhausted")


def test_a_prefix_of_a_larger_budget(twin):
    pool = twin.ArrayPool([np.random.default_rng(2).integers(-2, 3, (50, 2)).astype(np.float16)])
    targets = np.eye(2, dtype=np.float32)
    whole = select_knn(pool, targets, Rules(budget=50))
    for budget in (1, 13, 49):
        assert select_knn(pool, targets, Rules(budget=budget)).ids.tolist() == whole.ids[:budget].tolist()


def test_a_pool_that_runs_out(twin):
    found = select_knn(twin.ArrayPool([np.eye(2, dtype=np.float16)]), np.eye(2, dtype=np.float32), Rules(budget=9))
    assert (len(found.ids), found.stop_reason, found.passes) == (2, "pool_exhausted", 1)
    assert "9" in found.warnings[0]


def test_an_empty_pool(twin):
    found = select_knn(twin.ArrayPool([]), np.eye(2, dtype=np.float32), Rules(budget=9))
    assert (len(found.ids), found.candidates, found.stop_reason) == (0, 0, "pool_exhausted")


@pytest.mark.parametrize("targets", [np.zeros((2, 2), np.float16), np.empty((0, 2), np.float16)])
def test_targets_without_direction(twin, targets):
    with pytest.raises(InputError):
        select_knn(twin.ArrayPool([np.eye(2, dtype=np.float16)]), targets, Rules(budget=1))


def test_a_budget_of_nothing(twin):
    with pytest.raises(InputError, match="budget=0"):
        select_knn(twin.ArrayPool([]), np.eye(2, dtype=np.float32), Rules(budget=0))
