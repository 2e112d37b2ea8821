import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from curator.search.top_k import TopK
from curator.selection.frontier import AHEAD, Frontier, first_k, k_limit


def fetch_from(lists, calls):
    """A fetch over [[(score, id), ...] per centroid], all in order; notes (lines, cursors, k) of each call."""

    def fetch(lines, cursors, k):
        at = list(zip(cursors.scores.tolist(), cursors.ids.tolist(), strict=True))
        calls.append((lines.tolist(), at, k))
        after = [
            [pair for pair in line if (-pair[0], pair[1]) > (-score, number)]
            for line, (score, number) in zip([lists[line] for line in lines], at, strict=True)
        ]
        held = [line[:k] for line in after]
        width = max(map(len, held))
        padded = [line + [(-np.inf, -7)] * (width - len(line)) for line in held]
        table = np.array(padded, np.float64).reshape(len(lines), width, 2)
        counts, eligible = (np.array([len(line) for line in some]) for some in (held, after))
        scores, ids = table[..., 0].astype(np.float32), table[..., 1].astype(np.int64)
        return TopK(scores, ids, counts, eligible, len(lists[0]), k)

    return fetch


LISTS = [
    [(0.75, 1), (0.5, 2), (0.5, 3), (0.25, 4)],
    [(1.0, 3), (0.5, 1), (0.25, 2), (0.25, 4)],
]


def test_removed_rows_leave_every_centroid():
    frontier = Frontier(fetch_from(LISTS, []), 2, 4)
    assert frontier.best().ids.tolist() == [1, 3]
    frontier.remove_all()
    best = frontier.best()
    assert best.ids.tolist() == [2, 2]
    assert best.scores.tolist() == [0.5, 0.25]
    frontier.skip(0)
    assert frontier.best().ids.tolist() == [4, 4]
    frontier.remove_all()
    assert frontier.best() is None
    assert frontier.passes == 1


def test_a_centroid_without_rows_is_read_on_behind_those_it_had():
    calls = []
    frontier = Frontier(fetch_from(LISTS, calls), 2, 2)
    frontier.best()
    frontier.skip(1)
    # Row 3 is not in centroid 0's best two, and centroid 1 goes on to row 1.
    assert frontier.best().ids.tolist() == [1, 1]
    frontier.remove_all()
    assert frontier.best().ids.tolist() == [2, 2]
    start = (np.inf, -1)
    # Both go on behind the last row they had, though centroid 0 still has its row 2.
    assert calls == [([0, 1], [start, start], 2), ([0, 1], [(0.5, 2), (0.5, 1)], 4)]
    frontier.remove_all()
    assert frontier.best().ids.tolist() == [4, 4]
    assert (frontier.passes, frontier.candidates) == (2, 4)


def test_only_centroids_that_will_need_more_are_read_on():
    # Centroid 0 is the only one whose rows are taken; the others would last for a hundred times as long.
    lists = [[(1 - row / 256, row) for row in range(200)], *([(1 - row / 256, 1000 + row) for row in range(200)],) * 3]
    calls = []
    frontier = Frontier(fetch_from(lists, calls), 4, 40, budget=150)
    for _ in range(100):
        frontier.best()
        frontier.skip(0)
    assert [lines for lines, _, _ in calls] == [[0, 1, 2, 3], [0]]


def test_rows_that_are_skipped_do_not_count_as_budget():
    # 5 of 20 are chosen when the first 10 rows are used up: 15 are to come, and as many are skipped again.
    calls = []
    frontier = Frontier(fetch_from([[(1 - row / 256, row) for row in range(200)]], calls), 1, 10, budget=20)
    for _ in range(5):
        frontier.best()
        frontier.skip(0)
        frontier.best()
        frontier.remove_all()
    frontier.best()
    assert [k for _, _, k in calls] == [10, AHEAD * 30]


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_the_room_the_rows_come_in_the_same_order(data):
    ids = data.draw(st.permutations(range(12)))
    scores = data.draw(
        st.lists(st.lists(st.sampled_from([0.0, 0.25, 0.5]), min_size=12, max_size=12), min_size=3, max_size=3)
    )
    lists = [sorted(zip(line, ids, strict=True), key=lambda pair: (-pair[0], pair[1])) for line in scores]
    calls = []
    k, budget = data.draw(st.integers(1, 12)), data.draw(st.none() | st.integers(1, 12))
    frontier = Frontier(fetch_from(lists, calls), 3, k, budget, room=data.draw(st.integers(1, 36)))
    left = set(ids)
    while left:
        best = frontier.best()
        expected = [next(pair for pair in line if pair[1] in left) for line in lists]
        assert list(zip(best.scores.tolist(), best.ids.tolist(), strict=True)) == expected
        removed = data.draw(st.integers(0, 3))
        if removed < 3:
            frontier.skip(removed)
            left.discard(expected[removed][1])
        else:
            frontier.remove_all()
            left -= {row for _, row in expected}
    assert frontier.best() is None
    assert frontier.passes == len(calls)


def test_k_stays_within_memory():
    assert k_limit(100) * 100 * 16 <= 2**30
    assert k_limit(100) > 100_000
    assert k_limit(1 << 40) == 1
    calls = []
    Frontier(fetch_from(LISTS, calls), 2, 1 << 60)
    assert calls[0][-1] == k_limit(2)


@pytest.mark.parametrize(("budget", "more_than"), [(None, 99), (10, 99), (10**6, 10**4)])
def test_the_first_k_follows_the_budget(budget, more_than):
    assert more_than < first_k(100, budget) <= k_limit(100)
