import numpy as np
import pytest

from curator.errors import CuratorError
from curator.selection import Question, deny, select_each, select_simcore
from curator.selection import multi_target as several


def questions(twin, count=4):
    rng = np.random.default_rng(0)
    return [
        Question(
            twin.unit_rows(rng.standard_normal((2 + number, 5))),
            budget=(7, None, 90, 40)[number],
            stop=(None, 0.5, None, 0.9)[number],
            row_filter=deny([3, 8]) if number == 2 else None,
            k=1 + number,
        )
        for number in range(count)
    ]


def test_each_is_as_alone_and_the_pool_is_read_together(twin):
    rng = np.random.default_rng(1)
    pool = twin.ArrayPool(twin.split(twin.unit_rows(rng.standard_normal((120, 5)), np.float16), [30, 30, 77]))
    asked = questions(twin)
    together = select_each(pool, asked)
    reads, pool.reads = pool.reads, 0
    for ours, question in zip(together, asked, strict=True):
        alone = select_simcore(
            pool,
            question.centroids,
            budget=question.budget,
            stop=question.stop,
            row_filter=question.row_filter,
            k=question.k,
        )
        for name in ("ids", "scores", "centroids", "rounds"):
            assert np.array_equal(getattr(ours, name), getattr(alone, name))
        assert np.array_equal(ours.rounds_table.mean_score, alone.rounds_table.mean_score)
        assert ours.skipped.ids.tolist() == alone.skipped.ids.tolist()
        assert (ours.stop_reason, ours.stopped_at, ours.objective) == (
            alone.stop_reason,
            alone.stopped_at,
            alone.objective,
        )
    assert reads < pool.reads
    deep = [Question(q.centroids, q.budget, q.stop) for q in asked]
    pool.reads = 0
    select_each(pool, deep)
    assert pool.reads == 1


def test_all_queues_together_stay_within_their_bound(twin, monkeypatch):
    ks = []
    scan = several.best_rows

    def watching(pool, centroids, k, cursors, **settings):
        ks.append((len(centroids), k))
        return scan(pool, centroids, k, cursors, **settings)

    monkeypatch.setattr(several, "best_rows", watching)
    monkeypatch.setattr("curator.selection.frontier.QUEUE_BYTES", 40 * 100)
    pool = twin.ArrayPool([twin.unit_rows(np.random.default_rng(2).standard_normal((60, 5)))])
    select_each(pool, questions(twin))
    assert all(lines * k <= 100 for lines, k in ks)


@pytest.mark.parametrize("wrong", ["pool", "row_filter"])
def test_one_that_fails_ends_all(twin, wrong):
    def fail(*anything):
        raise CuratorError("broken")

    pool = twin.ArrayPool([twin.unit_rows(np.random.default_rng(2).standard_normal((60, 5)))])
    asked = questions(twin)
    if wrong == "pool":
        pool.parts = fail
    else:
        asked[1] = Question(asked[1].centroids, 5, None, row_filter=fail)
    with pytest.raises(CuratorError, match="broken"):
        select_each(pool, asked)
