import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from curator.search.distributed_scan import DistributedScan, scan_parts
from curator.search.query_scan import QueryScan, watched
from curator.search.row_scan import CentroidScan
from curator.search.scan import best_rows
from curator.search.top_k import NO_ROW, Cursors
from curator.selection import Rules, select_each, select_knn


def best_of(twin, pool, query, k):
    """By brute force: the best k rows of a query as [(score, id)]."""
    return twin.order_of(pool, query)[:k]


def answers(scan):
    """What a scan found, as [(score, id)] for each query."""
    top_k = scan.top_k
    for line, count in enumerate(top_k.counts):
        assert (top_k.ids[line, count:] == NO_ROW).all()
    return [
        list(zip(scores[:count], ids[:count].tolist(), strict=True))
        for scores, ids, count in zip(top_k.scores, top_k.ids, top_k.counts.tolist(), strict=True)
    ]


@settings(max_examples=50)
@given(data=st.data())
def test_every_way_of_reading_gives_the_best_rows(twin, data):
    dim = data.draw(st.integers(2, 3))
    grid = st.lists(st.integers(-3, 3), min_size=dim, max_size=dim).filter(any)
    rows = np.array(data.draw(st.lists(grid, min_size=1, max_size=25)), np.float16).reshape(-1, dim)
    pool = twin.ArrayPool(twin.split(rows, data.draw(st.lists(st.integers(0, len(rows)), max_size=3))))
    queries = twin.unit_rows(data.draw(st.lists(grid, min_size=1, max_size=4)))
    # Some of the centroids are queries.
    centroids = np.concatenate([queries[: data.draw(st.integers(0, len(queries)))], twin.unit_rows([[1] * dim])])
    k = data.draw(st.integers(1, 4))
    rules = Rules(budget=data.draw(st.integers(1, 30)), k=data.draw(st.integers(1, 9)))
    expected = [best_of(twin, pool, query, k) for query in queries]

    alone, simcore, knn = (QueryScan(queries, k) for _ in range(3))
    for _ in watched(pool, [alone]).parts():
        pass
    ridden = select_each(pool, [centroids], [rules], queries=[simcore])[0]
    select_knn(watched(pool, [knn]), centroids, rules)

    assert answers(alone) == answers(simcore) == answers(knn) == expected
    plain = select_each(pool, [centroids], [rules])[0]
    assert ridden.ids.tolist() == plain.ids.tolist()
    assert ridden.passes == plain.passes


class Workers:
    """Scans tasks in this process, the last of every three first."""

    def __init__(self, pool, centroids, queries):
        self.pool, self.row_scan, self.queries, self.tasks = pool, CentroidScan(centroids), queries, []

    def scan(self, tasks):
        waiting = []
        for task in [*tasks, None]:
            waiting += [task] if task else []
            while waiting and (task is None or len(waiting) == 3):
                self.tasks.append(waiting.pop())
                yield scan_parts(
                    self.tasks[-1],
                    self.pool.content.__getitem__,
                    self.row_scan,
                    lambda rows: None,
                    tuple(scan.left for scan in self.queries),
                )

    def search(self):
        rows = sum(map(len, self.pool.content.values()))
        parts = sorted(self.pool.content)
        return DistributedScan(
            self.scan, self.pool.content.__getitem__, parts, rows, self.row_scan, 2, queries=self.queries
        )


def test_workers_find_the_same_and_the_pool_is_scanned_no_more_often(twin):
    rng = np.random.default_rng(3)
    # Only the parts that are sampled hold what is near to centroid 0, so that centroid 0 is scanned for again.
    centroids = twin.unit_rows(rng.standard_normal((5, 8)))
    near = np.repeat(centroids[:1], 60, axis=0).astype(np.float16)
    rows = [twin.unit_rows(rng.standard_normal((30, 8)), np.float16) for _ in range(61)]
    pool = twin.ArrayPool([own if part % 20 else near for part, own in enumerate(rows)])
    first = QueryScan(twin.unit_rows(rng.standard_normal((4, 8))), 3)
    second = QueryScan(centroids[1:3], 2)
    for scan in (first, second):
        scan.begin(centroids, 300)
    assert (len(first.left), len(second.left)) == (4, 0)
    workers = Workers(pool, centroids, [first, second])

    top_k = workers.search()(Cursors.start(5), 300)
    for scan in (first, second):
        scan.end(top_k)

    np.testing.assert_array_equal(top_k.ids, best_rows(pool, centroids, 300).ids)
    assert answers(first) == [best_of(twin, pool, query, 3) for query in first._queries]
    assert answers(second) == [best_of(twin, pool, query, 2) for query in centroids[1:3]]
    again = [task for task in workers.tasks if len(task.centroids) == 1]
    assert again and all(task.query_bounds == () for task in again)


def test_queries_that_are_centroids_are_not_scored_again(twin):
    rng = np.random.default_rng(4)
    centroids = twin.unit_rows(rng.standard_normal((6, 5)))
    scan = QueryScan(np.concatenate([centroids[[4, 2]], twin.unit_rows([[1, 0, 0, 0, 0]])]), 2)

    scan.begin(centroids, 2)
    assert len(scan.left) == 1
    # Top-k that are shorter than the answer would not do.
    scan.begin(centroids, 1)
    assert len(scan.left) == 3


def test_a_pass_that_is_broken_off_does_not_count(twin):
    pool = twin.ArrayPool([np.eye(3, dtype=np.float16)[[number]] for number in range(3)])
    scan = QueryScan(np.eye(3, dtype=np.float32)[[2]], 1)

    next(iter(watched(pool, [scan]).parts()))
    assert scan.top_k is None
    list(watched(pool, [scan]).parts())

    assert answers(scan) == [[(np.float32(1), 2 << 32)]]
    found = scan.top_k
    list(watched(pool, [scan]).parts())
    assert scan.top_k is found


@pytest.mark.parametrize("count", [1, 3])
def test_several_targets_each_have_their_own(twin, count):
    rng = np.random.default_rng(5)
    pool = twin.ArrayPool(twin.split(twin.unit_rows(rng.standard_normal((70, 4)), np.float16), [20, 50]))
    centroids = [twin.unit_rows(rng.standard_normal((2 + number, 4))) for number in range(count)]
    scans = [QueryScan(twin.unit_rows(rng.standard_normal((3, 4))), 2) for _ in range(count)]

    select_each(pool, centroids, [Rules(budget=5)] * count, queries=scans)

    for scan in scans:
        assert answers(scan) == [best_of(twin, pool, query, 2) for query in scan._queries]
