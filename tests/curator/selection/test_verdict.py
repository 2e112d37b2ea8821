import numpy as np
import pytest

from curator.search import TopK, best_rows
from curator.selection import (
    Bound,
    Nearest,
    find_centroids,
    nearest_rows,
    query_rows,
    query_scan,
    select_each,
    verdict_of,
)
from curator.selection.rules import Rules
from curator.selection.verdict import KEPT


def none_own(ids):
    return np.zeros(len(ids), bool)


def judged(pool, target, is_own=none_own, median=0.5):
    queries = query_scan(target)
    select_each(pool, [find_centroids(target, 1, 0)], [Rules(budget=1)], queries=[queries])
    nearest = nearest_rows(query_rows(target), queries.top_k, is_own, all_read=True)
    return nearest, verdict_of(nearest, median)


def test_the_share_of_target_rows_with_a_nearer_pool_row(twin):
    target = np.eye(4, dtype=np.float16)
    # At .8 from the first target row and .6 from the second; the others find nothing.
    pool = twin.ArrayPool([twin.unit_rows([[0.8, 0.6, 0, 0]]), twin.unit_rows([[0.6, -0.8, 0, 0]])])

    nearest, verdict = judged(pool, target, median=0.7)

    assert nearest.ids.tolist() == [0, 0, 0, 0]
    assert nearest.scores.tolist() == [np.float32(0.8), np.float32(0.6), 0, 0]
    assert verdict.to_json() == {"share": 0.25, "rows": 4, "bound": "exact", "median": 0.7}
    assert verdict.doubtful


def test_a_score_equal_to_the_median_is_not_nearer():
    nearest = Nearest(np.arange(5), np.arange(5), np.array([0.5, 0.75, 0.75, 0.75, 0.25], np.float32), Bound.EXACT)

    assert verdict_of(nearest, 0.5).share == 0.6
    assert not verdict_of(nearest, 0.5).doubtful
    assert verdict_of(nearest, 0.75).share == 0.0


def test_own_images_are_passed_over_to_the_next(twin):
    rng = np.random.default_rng(0)
    target = twin.unit_rows(rng.standard_normal((9, 6)), np.float16)
    others = twin.unit_rows(rng.standard_normal((50, 6)), np.float16)
    pool = twin.ArrayPool([others[:20], np.repeat(target, 3, axis=0), others[20:]])

    nearest, _ = judged(pool, target, is_own=lambda ids: ids >> 32 == 1)

    # By brute force, of the pool without the copies.
    rest = {0: others[:20], 2: others[20:]}
    for place, query in enumerate(target):
        unit = find_centroids(query[None], 1, 0)[0]
        score, number = twin.order_of(twin.ArrayPool(rest), unit)[0]
        assert (nearest.ids[place], nearest.scores[place]) == (number, score)
    assert nearest.bound is Bound.EXACT


def test_a_pool_of_own_images_alone_has_nothing_near(twin):
    target = np.eye(4, dtype=np.float16)

    nearest, verdict = judged(twin.ArrayPool([target]), target, is_own=lambda ids: np.ones(len(ids), bool))

    assert nearest.ids.tolist() == [-1] * 4
    assert np.isnan(nearest.scores).all()
    # All rows of the pool were looked at, so this is certain.
    assert verdict.to_json() == {"share": 0.0, "rows": 4, "bound": "exact", "median": 0.5}


def test_more_copies_than_are_kept_leave_a_lower_bound(twin):
    target = np.eye(2, dtype=np.float16)
    copies = np.repeat(target[:1], KEPT, axis=0)
    pool = twin.ArrayPool([copies, twin.unit_rows([[0.9, 0.1]], np.float16)])

    nearest, verdict = judged(pool, target, is_own=lambda ids: ids >> 32 == 0)

    assert nearest.ids.tolist() == [-1, 1 << 32]
    assert verdict.bound is Bound.LOWER


def test_an_index_gives_a_lower_bound_and_no_search_none():
    top_k = TopK(np.array([[0.9]], np.float32), np.array([[4]]), np.array([1]), np.array([1]), 1, 1)

    assert nearest_rows(np.array([0]), top_k, none_own, all_read=False).bound is Bound.LOWER
    unknown = verdict_of(Nearest.unknown(), 0.5)
    assert unknown.to_json() == {"share": None, "rows": 0, "bound": "unknown", "median": 0.5}
    assert not unknown.doubtful
    # Nothing could be held out: the target is one image, or copies of one.
    alone = nearest_rows(np.array([0]), top_k, none_own, all_read=True)
    assert verdict_of(alone, float("nan")).to_json() == {"share": None, "rows": 1, "bound": "unknown", "median": None}


@pytest.mark.parametrize("count", [3, 700])
def test_the_queries_are_centroids_where_the_rows_are(twin, count):
    target = twin.unit_rows(np.random.default_rng(1).standard_normal((count, 8)), np.float16)
    pool = twin.ArrayPool([twin.unit_rows(np.random.default_rng(2).standard_normal((90, 8)), np.float16)])
    centroids = find_centroids(target, None, 0)
    queries = query_scan(target)

    queries.begin(centroids, KEPT)
    assert len(queries.left) == 0
    queries.end(best_rows(pool, centroids, KEPT))

    rows = query_rows(target)
    assert len(rows) == min(count, 500)
    assert (np.diff(rows) > 0).all()
    expected = best_rows(pool, find_centroids(target, None, 0)[rows], KEPT)
    np.testing.assert_array_equal(queries.top_k.ids, expected.ids)
    np.testing.assert_array_equal(queries.top_k.scores, expected.scores)
