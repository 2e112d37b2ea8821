from collections import Counter

import numpy as np
import pytest

from curator.errors import CuratorError
from curator.selection import Rules, deny, multi_target, no_filter, select_each, select_simcore


def targets(twin, count=4):
    """Centroids and rules of multi_target targets."""
    rng = np.random.default_rng(0)
    centroids = [twin.unit_rows(rng.standard_normal((2 + number, 5))) for number in range(count)]
    rules = [
        Rules(
            budget=(7, None, 90, 40)[number],
            stop=(None, 0.5, None, 0.9)[number],
            new_filter=(lambda: deny([3, 8])) if number == 2 else no_filter,
            k=1 + number,
        )
        for number in range(count)
    ]
    return centroids, rules


def test_each_is_as_alone_and_the_pool_is_read_together(twin):
    rng = np.random.default_rng(1)
    pool = twin.ArrayPool(twin.split(twin.unit_rows(rng.standard_normal((120, 5)), np.float16), [30, 30, 77]))
    centroids, rules = targets(twin)
    told = Counter()
    together = select_each(pool, centroids, rules, progress=told.update)
    assert told["chosen"] == sum(map(len, together))
    reads, pool.reads = pool.reads, 0
    for ours, own_centroids, own_rules in zip(together, centroids, rules, strict=True):
        alone = select_simcore(pool, own_centroids, own_rules)
        for name in ("ids", "scores", "anchors", "anchor_rows", "rounds"):
            assert np.array_equal(getattr(ours, name), getattr(alone, name))
        assert np.array_equal(ours.rounds_table.mean_score, alone.rounds_table.mean_score)
        assert ours.skipped.ids.tolist() == alone.skipped.ids.tolist()
        assert (ours.stop_reason, ours.stopped_at, ours.objective) == (
            alone.stop_reason,
            alone.stopped_at,
            alone.objective,
        )
    assert reads < pool.reads
    pool.reads = 0
    select_each(pool, centroids, [Rules(own.budget, own.stop) for own in rules])
    assert pool.reads == 1


def test_the_top_k_of_all_targets_stay_within_their_bound(twin, monkeypatch):
    ks = []
    scan = multi_target.best_rows

    def watching(pool, centroids, k, cursors, **settings):
        ks.append((len(centroids), k))
        return scan(pool, centroids, k, cursors, **settings)

    monkeypatch.setattr(multi_target, "best_rows", watching)
    monkeypatch.setattr("curator.selection.frontier.ROOM", 100)
    monkeypatch.setattr(multi_target, "ROOM", 100)
    pool = twin.ArrayPool([twin.unit_rows(np.random.default_rng(2).standard_normal((60, 5)))])
    select_each(pool, *targets(twin))
    assert all(lines * k <= 100 for lines, k in ks)


@pytest.mark.parametrize("wrong", ["pool", "row_filter"])
def test_one_that_fails_ends_all(twin, wrong):
    def fail(*anything):
        raise CuratorError("broken")

    pool = twin.ArrayPool([twin.unit_rows(np.random.default_rng(2).standard_normal((60, 5)))])
    centroids, rules = targets(twin)
    if wrong == "pool":
        pool.parts = fail
    else:
        rules[1] = Rules(5, new_filter=lambda: fail)
    with pytest.raises(CuratorError, match="broken"):
        select_each(pool, centroids, rules)
