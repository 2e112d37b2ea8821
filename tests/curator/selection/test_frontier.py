import numpy as np
import pytest

from curator.search.top_k import TopK
from curator.selection.frontier import Frontier, first_k, k_limit


def fetch_from(lists, calls):
    """A fetch over [[(score, id), ...] per centroid], all in order; notes (cursors, k) of each call."""

    def fetch(cursors, k):
        at = list(zip(cursors.scores.tolist(), cursors.ids.tolist(), strict=True))
        calls.append((at, k))
        after = [
            [pair for pair in line if (-pair[0], pair[1]) > (-score, number)]
            for line, (score, number) in zip(lists, at, strict=True)
        ]
        held = [line[:k] for line in after]
        width = max(map(len, held))
        padded = [line + [(-np.inf, -7)] * (width - len(line)) for line in held]
        table = np.array(padded, np.float64).reshape(len(lists), width, 2)
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
    frontier.remove(0)
    assert frontier.best().ids.tolist() == [4, 4]
    frontier.remove_all()
    assert frontier.best() is None
    assert frontier.passes == 1


def test_a_centroid_without_rows_is_read_on_from_what_it_has_consumed():
    calls = []
    frontier = Frontier(fetch_from(LISTS, calls), 2, 2)
    frontier.best()
    frontier.remove(1)
    # Row 3 is not in centroid 0's best two, and centroid 1 goes on to row 1.
    assert frontier.best().ids.tolist() == [1, 1]
    frontier.remove_all()
    assert frontier.best().ids.tolist() == [2, 2]
    start = (np.inf, -1)
    assert calls == [([start, start], 2), ([(0.75, 1), (0.5, 1)], 4)]
    frontier.remove_all()
    assert frontier.best().ids.tolist() == [4, 4]
    assert (frontier.passes, frontier.k, frontier.candidates) == (2, 4, 4)


def test_k_stays_within_memory():
    assert k_limit(100) * 100 * 16 <= 2**30
    assert k_limit(100) > 100_000
    assert k_limit(1 << 40) == 1
    assert Frontier(fetch_from(LISTS, []), 2, 1 << 60).k == k_limit(2)


@pytest.mark.parametrize(("budget", "more_than"), [(None, 99), (10, 99), (10**6, 10**4)])
def test_the_first_k_follows_the_budget(budget, more_than):
    assert more_than < first_k(100, budget) <= k_limit(100)
