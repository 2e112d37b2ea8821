import math

import numpy as np

from curator.selection.queues import Queues
from curator.selection.rounds import run_rounds


def fetch_of(scores, ids):
    """A fetch that knows the whole pool; more than one call would be an error."""
    scores, ids = np.array(scores, np.float32), np.array(ids, np.int64)
    counts = np.full(len(ids), ids.shape[1])
    calls = iter([Queues(scores, ids, counts, counts, ids.shape[1], 1000)])
    return lambda cursors, depth: next(calls)


def test_rounds_need_no_pool():
    fetch = fetch_of([[1.0, 0.5, 0.25], [0.75, 0.5, -1.0]], [[7, 8, 9], [8, 7, 9]])
    done = run_rounds(fetch, 2, budget=None, stop=None)
    assert done.ids.tolist() == [7, 8, 9]
    assert done.centroids.tolist() == [0, 1, 0]
    assert done.table.mean_score.tolist() == [0.875, -0.375]
    assert done.objective == 0.875


def test_means_are_added_in_centroid_order():
    # 2^24 and 16 times 2^-30: added one by one to 2^24 in float64 they count, pairwise they count otherwise.
    rng = np.random.default_rng(0)
    column = rng.standard_normal(100).astype(np.float32)
    done = run_rounds(fetch_of(column[:, None], np.zeros((100, 1))), 100, budget=None, stop=None)
    total = 0.0
    for value in column.tolist():
        total += value
    assert done.table.mean_score.tolist() == [total / 100]


def test_the_objective_is_left_open_when_the_first_round_is_cut():
    fetch = fetch_of([[1.0, 0.5], [0.75, 0.5]], [[7, 8], [8, 7]])
    done = run_rounds(fetch, 2, budget=1, stop=None)
    assert done.ids.tolist() == [7]
    assert math.isnan(done.objective)
    # The mean is that of the whole round, so that a larger budget has the same table.
    assert done.table.mean_score.tolist() == [0.875]
    assert done.table.picked.tolist() == [1]


def test_credit_goes_to_the_best_centroid_then_the_lower():
    fetch = fetch_of([[0.5], [0.75], [0.75]], [[4], [4], [4]])
    done = run_rounds(fetch, 3, budget=None, stop=None)
    assert done.centroids.tolist() == [1]
    assert done.scores.tolist() == [0.75]
    assert done.table.mean_score.tolist() == [2.0 / 3]
