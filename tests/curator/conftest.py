"""The slow twin: selection by its definition, in plain Python, on the full table of scores."""

import heapq
import math
from types import SimpleNamespace

import numpy as np
import pytest


class ArrayPool:
    """Arrays as parts, in the order given; counts how often it is read."""

    def __init__(self, parts):
        self.content = dict(enumerate(parts)) if isinstance(parts, list) else dict(parts)
        self.reads = 0

    def parts(self):
        self.reads += 1
        yield from self.content.items()

    def rows(self):
        """{id: row} of every row."""
        return {part << 32 | i: row for part, rows in self.content.items() for i, row in enumerate(rows)}


def score(row, centroid):
    dot = square = 0.0
    for x, c in zip(row, centroid, strict=True):
        dot += float(x) * float(c)
        square += float(x) * float(x)
    return np.float32(dot / math.sqrt(square)) if square > 0 else np.float32(0)


def order_of(pool, centroid):
    """[(score, id)] of every row of the pool, best first."""
    found = [(score(row, centroid), number) for number, row in pool.rows().items()]
    return sorted(found, key=lambda pair: (-pair[0], pair[1]))


def mean_of(scores):
    total = 0.0
    for one in scores:
        total += float(one)
    return total / len(scores)


def play_round(lists, gone, row_filter):
    """What would happen in a round, in order: ("take" | "pass", score, id, centroid, rejection).

    Returns the events and the score at which each centroid ends up, or None for these if the pool is empty.
    """
    streams = [iter([pair for pair in ordered if pair[1] not in gone]) for ordered in lists]
    heap, events, final = [], [], {}
    taken, passed = set(), set()

    def push(k):
        pair = next(streams[k], None)
        if pair:
            heapq.heappush(heap, (-float(pair[0]), pair[1], k))

    for k in range(len(lists)):
        push(k)
    while heap:
        negative, number, k = heapq.heappop(heap)
        if number not in taken and number not in passed:
            found = row_filter(np.array([number])) if row_filter else None
            rejection = found[1] if found else None
            events.append(("pass" if rejection else "take", -negative, number, k, rejection))
            (passed if rejection else taken).add(number)
        if number in taken:
            final[k] = -negative
        else:
            push(k)
    return events, [final[k] for k in range(len(lists))] if taken else None


def simcore(pool, centroids, *, budget=None, stop=None, reference_round=1, row_filter=None):
    """SimCore by its definition, as a namespace of plain lists."""
    lists = [order_of(pool, centroid) for centroid in centroids]
    out = SimpleNamespace(chosen=[], passed=[], table=[], reference=math.nan, stopped_at=None, reason="")
    gone = set()
    for t in range(1, len(lists[0]) + 2):
        events, final = play_round(lists, gone, row_filter)
        if final is not None:
            mean = mean_of(final)
            if t == reference_round:
                out.reference = mean
            ratio = mean / out.reference if out.reference > 0 else math.nan
            if stop is not None and out.reference > 0 and mean < stop * out.reference:
                out.reason, out.stopped_at = "stop_rule", (t, mean, ratio)
                return out
        before = len(out.chosen)
        for what, value, number, k, rejection in events:
            gone.add(number)
            if what == "take":
                out.chosen.append((number, value, k, t))
            else:
                out.passed.append((number, value, k, t, *rejection))
            if len(out.chosen) == budget:
                break
        if final is None:
            out.reason = "pool_exhausted"
            return out
        out.table.append((t, mean, ratio, len(out.chosen) - before))
        if len(out.chosen) == budget:
            out.reason = "budget"
            return out
    raise AssertionError("a pool lasts at most as many rounds as it has rows")


def objective(pool, centroids, ids):
    rows = pool.rows()
    return mean_of([max(score(rows[number], c) for number in ids) for c in centroids])


def lines(*columns):
    return list(zip(*(column.tolist() for column in columns), strict=True))


def assert_same(fast, slow):
    """A Selection equals the twin's result, to the last bit."""
    assert lines(fast.ids, fast.scores, fast.anchors, fast.rounds) == slow.chosen
    table = fast.rounds_table
    # repr, so that NaN equals NaN.
    found = lines(table.round, table.mean_score, table.ratio, table.chosen)
    assert repr(found) == repr(slow.table)
    gone = fast.skipped
    reasons = np.array(gone.reasons, object), np.array(gone.because, object), gone.matches, gone.similarities
    assert repr(lines(gone.ids, gone.scores, gone.anchors, gone.rounds, *reasons)) == repr(slow.passed)
    assert (fast.stop_reason, fast.stopped_at) == (slow.reason, slow.stopped_at)
    assert repr(fast.reference_mean) == repr(slow.reference)


def one_by_one(ask):
    """A filter made of a function that answers for one row."""

    def row_filter(rows, ahead=None):
        answers = ((place, ask(row)) for place, row in enumerate(rows.tolist()))
        return next(((place, rejection) for place, rejection in answers if rejection), None)

    return row_filter


def unit_rows(rows, dtype=np.float32):
    rows = np.asarray(rows, np.float64)
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(dtype)


def split(rows, at):
    """Rows as parts, cut at the given places (equal places give an empty part)."""
    return np.split(rows, sorted(at))


@pytest.fixture(scope="session")
def twin():
    return SimpleNamespace(
        ArrayPool=ArrayPool,
        assert_same=assert_same,
        mean_of=mean_of,
        objective=objective,
        one_by_one=one_by_one,
        order_of=order_of,
        score=score,
        simcore=simcore,
        split=split,
        unit_rows=unit_rows,
    )
