import numpy as np
import pytest

from curator.errors import CuratorError
from curator.index.scan_codes import CodedRows, scan_codes
from curator.search.scan import scan_block
from curator.search.top_k import Cursors

FIRST = 3 << 32


@pytest.fixture(params=["SQ8", "PQ12", "PQ2", "PQ1"])
def block(by_kind, request):
    """A function that scans the first rows of a part by their codes, and one that scans the rows."""
    made = by_kind(request.param)
    rows = dict(made.pool.parts())[3][:900].copy()
    rows[20:25] = 0
    rows[500:520] = rows[100:120]
    lists = made.quantiser.assign(rows)
    points, angles = made.contents.codec.decode(made.contents.codec.encode(rows, lists), lists)
    ids = FIRST + np.arange(len(rows))

    def by_codes(*arguments, angles=angles, rows=rows):
        return scan_codes(CodedRows(ids, points, angles), lambda asked: rows[asked - FIRST], made.centroids, *arguments)

    return by_codes, lambda *arguments: scan_block(FIRST, rows, made.centroids, *arguments), angles, rows


def pages(scan, k, lower_bound):
    """All pages of the block until nothing is left: ids, scores, and what is told of the rest."""
    cursors = Cursors.start(12)
    while True:
        queues = scan(k, cursors, lower_bound)
        yield queues.ids.tolist(), queues.scores.tolist(), queues.counts.tolist()
        if not queues.counts.any():
            assert np.isfinite(lower_bound).any() or queues.complete.all()
            return
        last = np.maximum(queues.counts - 1, 0)
        lines, some = np.arange(12), queues.counts > 0
        scores, ids = queues.scores[lines, last], queues.ids[lines, last]
        cursors = Cursors(np.where(some, scores, cursors.scores), np.where(some, ids, cursors.ids))


@pytest.mark.parametrize(("k", "lower_bound"), [(1, 0.2), (40, -np.inf), (300, -np.inf), (300, 0.1), (2000, -np.inf)])
def test_every_page_is_that_of_the_rows_themselves(block, k, lower_bound):
    by_codes, by_rows, _, _ = block
    lower_bound = np.full(12, lower_bound, np.float32)
    lower_bound[3:5] = -np.inf
    if k == 1:
        lower_bound[:] = 0.5
    assert list(pages(by_codes, k, lower_bound)) == list(pages(by_rows, k, lower_bound))


def test_angles_that_promise_too_much_would_be_seen(block):
    by_codes, by_rows, angles, _ = block
    lower_bound = np.full(12, -np.inf, np.float32)
    start = Cursors.start(12)
    narrow = by_codes(40, start, lower_bound, angles=np.zeros_like(angles))
    assert not np.array_equal(narrow.ids, by_rows(40, start, lower_bound).ids)


def test_rows_that_changed_for_the_worse_are_named(block):
    by_codes, _, _, rows = block
    rows = rows.copy()
    rows[:] = np.nan
    with pytest.raises(CuratorError, match="pool part 3, row"):
        by_codes(40, Cursors.start(12), np.full(12, -np.inf, np.float32), rows=rows)
