from functools import reduce

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from curator.errors import CuratorError, InputError
from curator.search import scan as search
from curator.search.scan import best_rows, reached_by, scan_part, shortlist
from curator.search.scoring import exact_scores
from curator.search.top_k import Cursors, merge


def plain(found):
    """TopK as [[(score, id), ...] per centroid]."""
    return [
        list(zip(found.scores[k, :count].tolist(), found.ids[k, :count].tolist(), strict=True))
        for k, count in enumerate(found.counts)
    ]


@pytest.fixture
def small(twin):
    """A pool with many equal scores, and three centroids."""
    rng = np.random.default_rng(0)
    parts = twin.split(rng.integers(-2, 3, (50, 3)).astype(np.float16), [0, 20, 20, 33])
    return twin.ArrayPool(parts), twin.unit_rows([[1, 2, 0], [0, 0, 1], [-1, 1, 1]])


@pytest.mark.parametrize("k", [1, 10, 50, 1000])
@pytest.mark.parametrize("block_rows", [1, 7, 16384])
def test_equals_a_sort_of_all_scores(twin, small, k, block_rows):
    pool, centroids = small
    found = best_rows(pool, centroids, k, block_rows=block_rows)
    assert plain(found) == [twin.order_of(pool, centroid)[:k] for centroid in centroids]
    assert found.rows == 50
    assert found.complete.tolist() == [k >= 50] * 3


@pytest.mark.parametrize("centroids_at_a_time", [1, 2, 1024])
@pytest.mark.parametrize("block_rows", [4, 16384])
def test_after_every_possible_cursor(twin, small, block_rows, centroids_at_a_time, monkeypatch):
    monkeypatch.setattr(search, "MOST_CENTROIDS", centroids_at_a_time)
    pool, centroids = small
    orders = [twin.order_of(pool, centroid) for centroid in centroids]
    for place in range(50):
        # The centroids stand at different places.
        places = [place, (place + 17) % 50, 49 - place]
        at = [order[p] for order, p in zip(orders, places, strict=True)]
        cursors = Cursors(np.array([s for s, _ in at], np.float32), np.array([i for _, i in at]))
        found = best_rows(pool, centroids, 6, cursors, block_rows=block_rows)
        expected = [order[p + 1 : p + 7] for order, p in zip(orders, places, strict=True)]
        assert plain(found) == expected
        assert found.eligible.tolist() == [49 - p for p in places]
        assert found.complete.tolist() == [49 - p <= 6 for p in places]


def test_equal_scores_at_the_cut_in_parts_out_of_order(twin):
    rows = np.ones((2, 2), np.float16)
    pool = twin.ArrayPool({7: rows, 1: rows, 3: rows})
    found = best_rows(pool, twin.unit_rows([[1, 0]]), 3)
    assert found.ids.tolist() == [[1 << 32, 1 << 32 | 1, 3 << 32]]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_many_rows_within_the_margin(twin, dtype):
    # All scores lie within some 1e-5 of each other, so a float32 product cannot order them.
    rng = np.random.default_rng(1)
    base = rng.standard_normal(64)
    noise = rng.standard_normal((3000, 64)) * (1e-3 if dtype is np.float32 else 4e-3)
    rows = (base + noise).astype(dtype)
    centroids = twin.unit_rows(base + 1e-2 * rng.standard_normal((5, 64)))
    ids = np.arange(3000)
    pool = twin.ArrayPool([rows])
    for block_rows in (700, 16384):
        found = best_rows(pool, centroids, 200, block_rows=block_rows)
        for k, centroid in enumerate(centroids):
            scores = exact_scores(rows, np.broadcast_to(centroid, rows.shape))
            order = np.lexsort((ids, -scores))[:200]
            assert found.ids[k].tolist() == order.tolist()
            assert found.scores[k].tolist() == scores[order].tolist()


def test_blocks_and_threads_change_nothing(twin):
    rng = np.random.default_rng(2)
    pool = twin.ArrayPool(twin.split(rng.standard_normal((20000, 32)).astype(np.float16), [3000, 4000]))
    centroids = twin.unit_rows(rng.standard_normal((30, 32)))
    first = best_rows(pool, centroids, 300)
    for block_rows, threads in [(16384, 1), (1000, 2), (999, 1)]:
        with threadpool_limits(threads):
            again = best_rows(pool, centroids, 300, block_rows=block_rows)
        assert again.ids.tolist() == first.ids.tolist()
        assert again.scores.tolist() == first.scores.tolist()


def test_few_scores_are_computed_exactly(twin, monkeypatch):
    counted = []

    def count(rows, norms, centroids, row_of, centroid_of):
        counted.append(len(row_of))
        return exact(rows, norms, centroids, row_of, centroid_of)

    exact = search.exact_pairs
    monkeypatch.setattr(search, "exact_pairs", count)
    rng = np.random.default_rng(3)
    pool = twin.ArrayPool([rng.standard_normal((20000, 16)).astype(np.float16)])
    best_rows(pool, twin.unit_rows(rng.standard_normal((4, 16))), 50, block_rows=5000)
    assert 4 * 50 <= sum(counted) < 4 * 50 * 4


def test_parts_scanned_apart_and_merged_as_a_tree(small):
    pool, centroids = small
    whole = best_rows(pool, centroids, 9)
    cursors = Cursors.start(3)
    found = [scan_part(part, rows, centroids, 9, cursors, block_rows=8) for part, rows in pool.parts()]
    for tree in (reduce(merge, found), merge(merge(*found[3:]), merge(*found[:3]))):
        assert plain(tree) == plain(whole)
        assert (tree.rows, tree.eligible.tolist()) == (whole.rows, whole.eligible.tolist())


def test_a_floor_leaves_out_what_lies_below(twin, small):
    pool, centroids = small
    orders = [twin.order_of(pool, centroid) for centroid in centroids]
    # Above the sixth row and those equal to it by the least amount there is.
    least = np.nextafter(orders[0][5][0], np.float32(2))
    lower_bound = np.array([least, -np.inf, 2.0], np.float32)
    found = merge(*(scan_part(p, rows, centroids, 50, Cursors.start(3), lower_bound) for p, rows in pool.parts()))
    above = [pair for pair in orders[0] if pair[0] >= least]
    assert 0 < len(above) <= 5
    assert plain(found) == [above, orders[1], []]
    assert found.complete.tolist() == [False, True, False]


def test_shortlist_keeps_what_the_error_may_hide():
    proposed = np.array([[0.9, 0.5, 0.52, 0.1, 0.48]], np.float32)
    everything = np.array([np.inf], np.float32), np.array([-np.inf], np.float32)
    assert shortlist(proposed, 2, *everything, 0.005)[0].tolist() == [0, 2]
    # The second best is 0.52, its true value at least 0.51, which 0.5 may reach.
    assert shortlist(proposed, 2, *everything, 0.01)[0].tolist() == [0, 1, 2]


def test_shortlist_counts_what_surely_lies_above_the_ceiling():
    proposed = np.array([[0.9, 0.5, 0.52, 0.1]], np.float32)
    wanted, above = shortlist(proposed, 1, np.array([0.505], np.float32), np.array([0.2], np.float32), 0.01)
    assert wanted.tolist() == [1]
    assert above.tolist() == [2]


@pytest.mark.parametrize("count", [1, 3, 40, 200, 201])
@pytest.mark.parametrize("has_cursors", [False, True])
def test_so_many_rows_after_the_cursor_reach_the_score(twin, count, has_cursors):
    rng = np.random.default_rng(6)
    rows, centroids = rng.standard_normal((200, 4)).astype(np.float16), twin.unit_rows(rng.standard_normal((3, 4)))
    everything = scan_part(0, rows, centroids, 200, Cursors.start(3))
    cursors = Cursors(everything.scores[:, 9].copy(), everything.ids[:, 9]) if has_cursors else Cursors.start(3)

    score = reached_by(count, rows, centroids, cursors)

    after = everything.scores[:, 10 * has_cursors :]
    reach = np.count_nonzero(after >= score[:, None], axis=1)
    if count > after.shape[1]:
        assert np.isneginf(score).all()
    else:
        # Groups may hide some of the best rows behind others, but not many.
        assert (reach >= count).all()
        assert (reach <= 1.5 * count + 2).all()


def test_memory_maps_and_float32_rows(tmp_path, twin):
    rows = np.random.default_rng(4).standard_normal((40, 3)).astype(np.float32)
    np.save(tmp_path / "part.npy", rows)
    pool = twin.ArrayPool([np.load(tmp_path / "part.npy", mmap_mode="r")])
    centroids = twin.unit_rows([[1, 2, 3]])
    assert plain(best_rows(pool, centroids, 5)) == [twin.order_of(pool, centroids[0])[:5]]


def test_a_row_that_is_not_finite_is_named(twin):
    rows = np.ones((20, 2), np.float16)
    rows[13, 1] = np.nan
    with pytest.raises(CuratorError, match="part 4, row 13"):
        best_rows(twin.ArrayPool({4: rows}), np.eye(2, dtype=np.float32), 3, block_rows=6)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.ones((2, 3), np.float16), "same encoder"),
        (np.ones(2, np.float16), "same encoder"),
        (np.ones((2, 2), np.float64), "float64"),
    ],
)
def test_parts_that_do_not_fit(twin, rows, message):
    with pytest.raises(InputError, match=message):
        best_rows(twin.ArrayPool([rows]), np.eye(2, dtype=np.float32), 3)


@pytest.mark.parametrize(
    "centroids",
    [np.empty((0, 2), np.float32), np.eye(2), np.ones(2, np.float32), np.full((1, 2), np.nan, np.float32)],
)
def test_centroids_that_nothing_can_be_scored_against(twin, centroids):
    with pytest.raises(InputError, match="centroids"):
        best_rows(twin.ArrayPool([np.eye(2, dtype=np.float16)]), centroids, 3)
