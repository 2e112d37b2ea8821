import numpy as np
import pytest

from curator.search.distributed_scan import DistributedScan, scan_parts
from curator.search.query_scan import QueryScan
from curator.search.row_scan import CentroidScan
from curator.search.scan import best_rows
from curator.search.top_k import Cursors
from curator.selection.rules import Rules
from curator.selection.simcore import select_simcore

DIM = 8


class Workers:
    """Scan tasks in this process, the last of every few first; remembers what they were asked and gave."""

    def __init__(self, pool, centroids, at_a_time=3):
        self.pool, self.row_scan, self.at_a_time = pool, CentroidScan(centroids), at_a_time
        self.tasks, self.rows, self.returned = [], 0, 0

    def read(self, part):
        return self.pool.content[part]

    def scan(self, tasks):
        waiting = []
        for task in tasks:
            waiting.append(task)
            if len(waiting) == self.at_a_time:
                yield from self.answers(waiting)
        yield from self.answers(waiting)

    def answers(self, waiting):
        while waiting:
            self.tasks.append(waiting.pop())
            found = scan_parts(self.tasks[-1], self.read, self.row_scan, self.count)
            self.returned += int(found.top_k.counts.sum())
            yield found

    def count(self, rows):
        self.rows += rows

    def search(self, workers=2):
        rows = sum(map(len, self.pool.content.values()))
        return DistributedScan(self.scan, self.read, sorted(self.pool.content), rows, self.row_scan, workers)


def make(twin, parts, rows=60, seed=0, shift=None):
    rng = np.random.default_rng(seed)
    blocks = [rng.standard_normal((int(rng.integers(0, rows)), DIM)) for _ in range(parts)]
    if shift is not None:
        blocks = [shift(number, block) for number, block in enumerate(blocks)]
    pool = twin.ArrayPool([twin.unit_rows(block + 1e-9, np.float16) for block in blocks])
    return pool, twin.unit_rows(rng.standard_normal((5, DIM)))


def assert_equal(found, expected):
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.counts, expected.counts)
    np.testing.assert_array_equal(found.eligible, expected.eligible)
    assert (found.rows, found.k) == (expected.rows, expected.k)


@pytest.mark.parametrize("parts", [1, 5, 16, 70])
@pytest.mark.parametrize("k", [1, 25, 300, 10_000])
@pytest.mark.parametrize("workers", [1, 3])
def test_equals_one_scan(twin, parts, k, workers):
    pool, centroids = make(twin, parts)

    found = Workers(pool, centroids).search(workers)(Cursors.start(5), k)

    assert_equal(found, best_rows(pool, centroids, k))


@pytest.mark.parametrize("k", [10, 100])
def test_equals_one_scan_after_cursors(twin, k):
    pool, centroids = make(twin, 30)
    first = best_rows(pool, centroids, 150)
    places = np.array([0, 3, 70, 149, 20])
    cursors = Cursors(first.scores[np.arange(5), places], first.ids[np.arange(5), places])

    found = Workers(pool, centroids).search()(cursors, k)

    assert_equal(found, best_rows(pool, centroids, k, cursors))


def test_equals_one_scan_where_many_scores_are_equal(twin):
    rng = np.random.default_rng(2)
    pool = twin.ArrayPool([rng.integers(-1, 2, (40, 3)).astype(np.float16) for _ in range(40)])
    centroids = twin.unit_rows([[1, 2, 0], [0, 0, 1]])

    found = Workers(pool, centroids).search()(Cursors.start(2), 200)

    assert_equal(found, best_rows(pool, centroids, 200))


def test_a_threshold_spares_most_of_what_workers_would_return(twin):
    pool, centroids = make(twin, 60, rows=200)
    workers = Workers(pool, centroids, at_a_time=60)

    found = workers.search()(Cursors.start(5), 500)

    assert np.isfinite(workers.tasks[0].lower_bound).all()
    assert found.counts.sum() == 5 * 500
    # Without one, each of 9 tasks would return its best 500 of 5 centroids.
    assert workers.returned < 2.5 * 5 * 500
    assert workers.rows == found.rows


def test_too_few_above_the_threshold_are_looked_for_again(twin):
    # Only the parts that are sampled, which are the first, the last and two between, hold what is near to centroid 0.
    pool, centroids = make(twin, 61, rows=40)
    near = np.repeat(centroids[:1], 60, axis=0).astype(np.float16)
    pool.content = {part: rows if part % 20 else near for part, rows in pool.content.items()}
    workers = Workers(pool, centroids)

    found = workers.search()(Cursors.start(5), 300)

    assert_equal(found, best_rows(pool, centroids, 300))
    assert [task.centroids.tolist() for task in workers.tasks if np.isinf(task.lower_bound).all()][-1] == [0]
    assert workers.rows == 2 * found.rows


def test_a_small_pool_is_scanned_once_and_in_one_task_a_part(twin):
    pool, centroids = make(twin, 5)
    workers = Workers(pool, centroids)

    workers.search()(Cursors.start(5), 3)

    assert sorted(task.parts for task in workers.tasks) == [(part,) for part in range(5)]


def test_simcore_on_it_is_simcore(twin):
    pool, centroids = make(twin, 40)
    # Few rows per centroid, so that the pool is read several times.
    rules = Rules(budget=400, k=20)

    spread = select_simcore(
        pool, centroids, rules, fetch=lambda lines, *asked: Workers(pool, centroids[lines]).search()(*asked)
    )
    plain = select_simcore(pool, centroids, rules)

    np.testing.assert_array_equal(spread.ids, plain.ids)
    np.testing.assert_array_equal(spread.scores, plain.scores)
    assert spread.passes == plain.passes > 1


class Kept:
    """A keeper in memory, which looks at no question."""

    def __init__(self):
        self.kept, self.is_finished = None, None

    def load(self, question):
        return self.kept

    def save(self, question, kept, is_finished):
        self.kept, self.is_finished = kept, is_finished


@pytest.mark.parametrize("k", [3, 300])
def test_what_the_others_gave_is_kept_when_a_part_cannot_be_read(twin, k):
    pool, centroids = make(twin, 30)
    queries = QueryScan(twin.unit_rows(np.random.default_rng(1).standard_normal((4, DIM))), 2)
    keeper, bad = Kept(), {7}

    def read(part):
        if part in bad:
            raise OSError(f"part {part} cannot be read")
        return pool.content[part]

    read_parts = []

    def scan(tasks):
        for task in tasks:
            found = scan_parts(task, read, CentroidScan(centroids), lambda rows: None, (queries.left,))
            read_parts.extend(task.parts)
            yield found

    def search():
        queries.begin()
        rows = sum(map(len, pool.content.values()))
        parts = [part for part in sorted(pool.content) if part != 7] + [7]
        return DistributedScan(scan, read, parts, rows, CentroidScan(centroids), 1, (queries,), keeper)

    with pytest.raises(OSError, match="part 7"):
        search()(Cursors.start(5), k)
    assert keeper.kept.parts == set(read_parts) and not keeper.is_finished
    assert len(read_parts) >= 20
    bad.clear()
    before = set(read_parts)
    read_parts.clear()
    found = search()(Cursors.start(5), k)
    queries.end()

    assert before.isdisjoint(read_parts)
    assert keeper.is_finished
    assert_equal(found, best_rows(pool, centroids, k))
    expected = best_rows(pool, queries._queries, 2)
    np.testing.assert_array_equal(queries.top_k.ids, expected.ids)


@pytest.mark.parametrize("k", [3, 300])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_pool_that_has_grown_is_scanned_in_its_new_parts_alone(twin, k, workers):
    pool, centroids = make(twin, 40)
    queries = QueryScan(twin.unit_rows(np.random.default_rng(1).standard_normal((4, DIM))), 2)
    keeper, read_parts = Kept(), []

    def scan(tasks):
        for task in tasks:
            read_parts.extend(task.parts)
            yield scan_parts(task, pool.content.get, CentroidScan(centroids), lambda rows: None, (queries.left,))

    def search(parts):
        queries.begin()
        rows = sum(len(pool.content[part]) for part in parts)
        found = DistributedScan(
            scan, pool.content.get, parts, rows, CentroidScan(centroids), workers, (queries,), keeper
        )(Cursors.start(5), k)
        queries.end()
        return found

    search(range(30))
    read_parts.clear()
    found = search(range(40))

    assert sorted(read_parts) == list(range(30, 40))
    assert_equal(found, best_rows(pool, centroids, k))
    expected = best_rows(pool, queries._queries, 2)
    np.testing.assert_array_equal(queries.top_k.ids, expected.ids)
    np.testing.assert_array_equal(queries.top_k.scores, expected.scores)
