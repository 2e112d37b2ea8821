import numpy as np
import pytest

from curator.search import MemoryPool
from curator.selection import Rejection, Rules, select_knn, select_random, select_simcore
from curator.selection.result import Threshold

# Scores of ten rows with one centroid: 1.0, 0.99, 0.96 ...
SCORES = [1.0, 0.99, 0.96, 0.94, 0.91, 0.89, 0.85, 0.75, 0.65, 0.5]
AXIS = np.array([[1, 0]], np.float32)


def pool_of(scores):
    return MemoryPool(np.array([[score, np.sqrt(1 - score**2)] for score in scores], np.float32))


def test_other_thresholds_are_told_on_both_sides_of_the_end():
    done = select_simcore(pool_of(SCORES), AXIS, Rules(stop=0.9, thresholds=(0.5,)))
    assert done.ids.tolist() == [0, 1, 2, 3, 4]
    assert done.thresholds == [
        Threshold(0.95, 3, 3, more=False, exact=True),
        Threshold(0.9, 5, 5, more=False, exact=True),
        Threshold(0.8, 7, 7, more=False, exact=True),
        Threshold(0.7, 8, 8, more=False, exact=True),
        # 0.5 is not below 0.5: all rows.
        Threshold(0.5, 10, 10, more=False, exact=True),
    ]


def test_the_rounds_around_the_end():
    done = select_simcore(pool_of(SCORES), AXIS, Rules(stop=0.9))
    assert [(line.round, line.chosen, line.taken) for line in done.around_end] == [
        (3, 3, True),
        (4, 4, True),
        (5, 5, True),
        (6, 6, False),
        (7, 7, False),
    ]
    assert [line.ratio for line in done.around_end] == pytest.approx(SCORES[2:7])
    assert [line.mean for line in done.around_end] == pytest.approx(SCORES[2:7])


def test_a_budget_has_thresholds_and_next_rows_too():
    done = select_simcore(pool_of(SCORES), AXIS, Rules(budget=2))
    assert [told.chosen for told in done.thresholds] == [3, 5, 7, 8]
    assert done.next_rows.ids.tolist() == list(range(2, 10))
    assert done.next_rows.rounds.tolist() == list(range(3, 11))


def test_a_round_that_the_budget_cut_counts_in_full():
    # Both rows are of round 1; the budget leaves room for one.
    pool = MemoryPool(np.array([[0.9, 0.1], [0.1, 1.0], [0.5, 0.5]], np.float32))
    done = select_simcore(pool, np.eye(2, dtype=np.float32), Rules(budget=1))
    assert done.ids.tolist() == [1]
    assert (done.next_rows.ids.tolist(), done.next_rows.rounds.tolist()) == ([0, 2], [1, 2])
    assert done.thresholds[0] == Threshold(0.95, 1, 2, more=False, exact=True)
    assert [line.chosen for line in done.around_end] == [1, 3]


def test_where_the_rows_in_memory_end_it_is_more_than():
    pool = pool_of(SCORES)
    done = select_simcore(pool, AXIS, Rules(budget=2, k=4))
    assert done.passes == 1
    # Four rows are in memory: 0.94 is below 0.95, and nothing is known of 0.9.
    assert done.thresholds[:2] == [
        Threshold(0.95, 3, 3, more=False, exact=True),
        Threshold(0.9, 4, 4, more=True, exact=False),
    ]
    assert done.next_rows.ids.tolist() == [2, 3]


def test_beyond_the_end_no_filter_is_asked():
    asked = []

    def refuse_the_last(ids, ahead):
        asked.extend(ids.tolist())
        return (int(np.flatnonzero(ids == 9)[0]), Rejection("odd")) if 9 in ids else None

    done = select_simcore(pool_of(SCORES), AXIS, Rules(stop=0.9, new_filter=lambda: refuse_the_last))
    assert asked == [0, 1, 2, 3, 4, 5]
    assert [told.exact for told in done.thresholds] == [True, True, False, False]
    assert done.next_rows.ids.tolist() == [5, 6, 7, 8, 9]


def test_selectors_without_rounds_tell_the_next_rows():
    pool = pool_of(SCORES)
    done = select_knn(pool, AXIS, Rules(budget=4))
    assert done.next_rows.ids.tolist() == [4, 5, 6, 7, 8, 9]
    assert done.next_rows.scores.tolist() == pytest.approx(SCORES[4:])
    every = select_random(pool, Rules(budget=10), seed=3)
    some = select_random(pool, Rules(budget=6), seed=3)
    assert some.next_rows.ids.tolist() == every.ids[6:].tolist()
    assert len(every.next_rows) == 0


def test_at_most_a_hundred_next_rows():
    pool = MemoryPool(np.random.default_rng(0).standard_normal((300, 4)).astype(np.float32))
    whole = select_simcore(pool, np.eye(4, dtype=np.float32), Rules())
    done = select_simcore(pool, np.eye(4, dtype=np.float32), Rules(budget=50))
    assert done.next_rows.ids.tolist() == whole.ids[50:150].tolist()
    assert done.next_rows.rounds.tolist() == whole.rounds[50:150].tolist()
    assert done.next_rows.anchors.tolist() == whole.anchors[50:150].tolist()
