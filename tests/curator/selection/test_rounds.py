import math

import numpy as np

from curator.search.top_k import TopK
from curator.selection.filters import Rejection
from curator.selection.rounds import run_rounds
from curator.selection.rules import Rules


def fetch_of(scores, ids):
    """A fetch that knows the whole pool; more than one call would be an error."""
    scores, ids = np.array(scores, np.float32), np.array(ids, np.int64)
    counts = np.full(len(ids), ids.shape[1])
    calls = iter([TopK(scores, ids, counts, counts, ids.shape[1], 1000)])
    return lambda lines, cursors, k: next(calls)


def test_rounds_need_no_pool():
    fetch = fetch_of([[1.0, 0.5, 0.25], [0.75, 0.5, -1.0]], [[7, 8, 9], [8, 7, 9]])
    done = run_rounds(fetch, 2, Rules())
    assert done.ids.tolist() == [7, 8, 9]
    assert done.anchors.tolist() == [0, 1, 0]
    assert done.rounds_table.mean_score.tolist() == [0.875, -0.375]
    assert done.objective == 0.875


def test_means_are_added_in_centroid_order():
    # Added to 1 one by one, these scores are too small to count; added to each other first, they would count.
    column = np.array([1.0] + [2.0**-53] * 16)
    done = run_rounds(fetch_of(column[:, None], np.zeros((17, 1))), 17, Rules())
    assert done.rounds_table.mean_score.tolist() == [1 / 17]


def test_the_objective_is_left_open_when_the_first_round_is_cut():
    fetch = fetch_of([[1.0, 0.5], [0.75, 0.5]], [[7, 8], [8, 7]])
    done = run_rounds(fetch, 2, Rules(budget=1))
    assert done.ids.tolist() == [7]
    assert math.isnan(done.objective)
    # The mean is that of the whole round, so that a larger budget has the same table.
    assert done.rounds_table.mean_score.tolist() == [0.875]
    assert done.rounds_table.chosen.tolist() == [1]


def test_credit_goes_to_the_best_centroid_then_the_lower():
    fetch = fetch_of([[0.5], [0.75], [0.75]], [[4], [4], [4]])
    done = run_rounds(fetch, 3, Rules())
    assert done.anchors.tolist() == [1]
    assert done.scores.tolist() == [0.75]
    assert done.rounds_table.mean_score.tolist() == [2.0 / 3]


def test_a_filter_is_asked_once_per_row_in_order_of_choice(twin):
    asked = []

    def row_filter(row):
        asked.append(row)
        return Rejection("odd") if row % 2 else None

    fetch = fetch_of([[1.0, 0.5, 0.25], [0.75, 0.5, 0.25], [0.5, 0.25, 0.0]], [[2, 4, 5], [5, 4, 2], [2, 5, 4]])
    done = run_rounds(fetch, 3, Rules(new_filter=lambda: twin.one_by_one(row_filter)))
    assert asked == [2, 5, 4]
    assert done.ids.tolist() == [2, 4]
    assert (done.skipped.ids.tolist(), done.skipped.anchors.tolist()) == ([5], [1])
