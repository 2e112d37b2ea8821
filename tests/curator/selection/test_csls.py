"""csls against its definition in plain Python, and what it does with odd pools, targets and filters."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from curator.errors import CuratorError, InputError
from curator.search import Cursors, DistributedScan, first_in_hash_order, scan_parts
from curator.selection import Rules, csls_choice, csls_sample, csls_scan, deny
from curator.selection.csls import select_csls
from curator.selection.csls_sample import PoolSample
from curator.selection.half_whitened import HalfWhitened


def place(space, row):
    """Coordinates of a row by the definition: sums in index order, multiples of 2^-24."""
    square = 0.0
    for x in row:
        square += float(x) * float(x)
    if square == 0:
        return [0.0] * len(space.deviations)
    along = []
    for direction, deviation in zip(space.directions, space.deviations, strict=True):
        total = 0.0
        for x, mean, axis in zip(row, space.mean, direction, strict=True):
            total += (float(x) / math.sqrt(square) - float(mean)) * float(axis)
        along.append(total / math.sqrt(float(deviation)))
    square = 0.0
    for x in along:
        square += x * x
    length = math.sqrt(square) if square > 0 else 1.0
    return [round(x / length * 2**24) / 2**24 for x in along]


def slow_scores(twin, pool, targets, sample, neighbours):
    """[(id, score, target)] of every row, by plain loops."""
    aims = [place(sample.space, target) for target in targets]
    near = {number: place(sample.space, row) for number, row in zip(sample.ids.tolist(), sample.rows, strict=True)}
    every = []
    for number, row in pool.rows().items():
        here = place(sample.space, row)
        similar = [twin.score(here, aim) for aim in aims]
        others = sorted(
            (float(twin.score(here, there)) for other, there in near.items() if other != number), reverse=True
        )
        density = twin.mean_of(others[:neighbours]) if others else 0.0
        every.append((number, float(np.float32(2 * float(max(similar)) - density)), similar.index(max(similar))))
    return sorted(every, key=lambda line: (-line[1], line[0]))


def slow_csls(twin, pool, targets, budget, per_target, sample, denied=(), neighbours=20):
    """[(id, score, target)] chosen, skipped and next; targets are distinct unit rows."""
    most = max(1, math.ceil(per_target * budget / len(targets)))
    chosen, skipped, following, taken = [], [], [], [0] * len(targets)
    for line in slow_scores(twin, pool, targets, sample, neighbours):
        if taken[line[2]] == most:
            continue
        if len(chosen) == budget:
            following.append(line)
        elif line[0] in denied:
            skipped.append(line)
            continue
        else:
            chosen.append(line)
        taken[line[2]] += 1
    return chosen, skipped, following


def lines(found):
    columns = (found.ids, found.scores, found.anchors)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def make(twin, rows, dim=5, parts=3, targets=4, seed=0):
    rng = np.random.default_rng(seed)
    scale = np.linspace(1, 0.2, dim)
    pool = rng.standard_normal((rows, dim)) * scale + 0.5
    cuts = np.linspace(0, rows, parts + 1).astype(int)[1:-1]
    aims = rng.standard_normal((targets, dim)) * scale + 0.5
    return twin.ArrayPool(twin.split(pool.astype(np.float16), list(cuts))), twin.unit_rows(aims)


@pytest.fixture
def small_sample(monkeypatch):
    """A sample that is smaller than the pools here, and a first look at less than all of it."""
    monkeypatch.setattr(csls_sample, "SPACE_ROWS", 60)
    monkeypatch.setattr(csls_sample, "DENSITY_ROWS", 40)
    monkeypatch.setattr(csls_scan, "NEIGHBOURS", 5)
    monkeypatch.setattr(csls_scan, "FIRST_LOOK", 4)


@pytest.mark.parametrize("budget", [1, 7, 60, 150, 300])
@pytest.mark.parametrize("per_target", [1, 4])
def test_equals_the_twin(twin, small_sample, budget, per_target):
    pool, targets = make(twin, 300)
    sample = PoolSample.draw(pool)
    assert (len(sample.ids), sample.space.directions.shape) == (40, (5, 5))
    found = select_csls(pool, targets, Rules(budget=budget), per_target=per_target)
    assert lines(found) == slow_csls(twin, pool, targets, budget, per_target, sample, neighbours=5)[0]
    assert lines(found.next_rows) == slow_csls(twin, pool, targets, budget, per_target, sample, neighbours=5)[2][:100]
    assert found.candidates == 300
    assert found.passes == 1


@pytest.mark.parametrize("seed", range(4))
def test_a_row_of_the_sample_is_not_its_own_neighbour_at_any_cut(twin, small_sample, monkeypatch, seed):
    monkeypatch.setattr(csls_sample, "DENSITY_ROWS", 30)
    monkeypatch.setattr(csls_scan, "FIRST_LOOK", 1)
    monkeypatch.setattr(csls_scan, "NEIGHBOURS", 30)
    monkeypatch.setattr(csls_scan, "BLOCK_ROWS", 4)
    pool, targets = make(twin, 40, dim=2, seed=seed)
    sample = PoolSample.draw(pool)
    # A budget of all rows leaves none out at first sight, so this is what the others must begin with.
    whole = lines(select_csls(pool, targets, Rules(budget=40), per_target=99, sample=sample))
    assert whole == slow_scores(twin, pool, targets, sample, 30)
    for budget in range(1, 40):
        assert lines(select_csls(pool, targets, Rules(budget=budget), per_target=99, sample=sample)) == whole[:budget]


@pytest.mark.parametrize("error", [1e-3, 0.05, 0.5])
@pytest.mark.parametrize("budget", [7, 60])
def test_proposals_may_be_as_far_off_as_they_say(twin, small_sample, monkeypatch, error, budget):
    pool, targets = make(twin, 300, targets=6)
    expected = lines(select_csls(pool, targets, Rules(budget=budget)))
    propose, rng = HalfWhitened.propose, np.random.default_rng(1)

    def worse(self, rows, norms):
        unit, errors = propose(self, rows, norms)
        off = rng.standard_normal(unit.shape)
        off *= error * rng.choice([0.1, 1], (len(unit), 1)) / np.linalg.norm(off, axis=1, keepdims=True)
        return (unit + off).astype(np.float32), errors + np.float32(error)

    monkeypatch.setattr(HalfWhitened, "propose", worse)
    monkeypatch.setattr(csls_scan, "BLOCK_ROWS", 10)
    for _ in range(5):
        assert lines(select_csls(pool, targets, Rules(budget=budget))) == expected


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_equals_the_twin_with_ties_filters_and_few_rows_kept(twin, data):
    grid = st.lists(st.integers(-2, 2), min_size=3, max_size=3)
    rows = np.array(data.draw(st.lists(grid, min_size=1, max_size=40)), np.float16)
    targets = np.unique(twin.unit_rows(data.draw(st.lists(grid.filter(any), min_size=1, max_size=5))), axis=0)
    pool = twin.ArrayPool(twin.split(rows, data.draw(st.lists(st.integers(0, len(rows)), max_size=3))))
    denied = set(sorted(pool.rows())[:: data.draw(st.integers(1, 10))]) if data.draw(st.booleans()) else set()
    budget, per_target = data.draw(st.integers(1, len(rows) + 2)), data.draw(st.integers(1, 5))
    rules = Rules(budget=budget, new_filter=lambda: deny(denied) if denied else None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csls_sample, "DENSITY_ROWS", data.draw(st.sampled_from([1, 6, 2500])))
        patch.setattr(csls_scan, "NEIGHBOURS", neighbours := data.draw(st.sampled_from([2, 20])))
        patch.setattr(csls_scan, "FIRST_LOOK", 2)
        patch.setattr(csls_scan, "BLOCK_ROWS", 4)
        patch.setattr(csls_choice, "SPARE", 0)
        patch.setattr(csls_choice, "LEAST_K", data.draw(st.sampled_from([1, 500])))
        patch.setattr(csls_choice, "FILTERED_ROWS", 3)
        limit = data.draw(st.sampled_from([1, 3, 1000]))
        patch.setattr(csls_choice, "k_limit", lambda _: limit)
        sample = PoolSample.draw(pool)
        found = select_csls(pool, targets, rules, per_target=per_target, sample=sample)
    chosen, skipped, following = slow_csls(twin, pool, targets, budget, per_target, sample, denied, neighbours)
    assert lines(found) == chosen
    assert lines(found.skipped) == skipped
    assert lines(found.next_rows) == following[: len(found.next_rows)]
    assert found.stop_reason == ("budget" if len(chosen) == budget else "pool_exhausted")


class Workers:
    """Scan tasks in this process, the last of every few first."""

    def __init__(self, pool, workers):
        self.pool, self.workers = pool, workers

    def __call__(self, row_scan):
        def scan(tasks):
            waiting = []
            for task in tasks:
                waiting.append(task)
                if len(waiting) == self.workers:
                    yield from answers(waiting)
            yield from answers(waiting)

        def answers(waiting):
            while waiting:
                yield scan_parts(waiting.pop(), self.pool.content.__getitem__, row_scan, lambda rows: None)

        rows = sum(map(len, self.pool.content.values()))
        return DistributedScan(
            scan, self.pool.content.__getitem__, sorted(self.pool.content), rows, row_scan, self.workers
        )


@pytest.mark.parametrize("parts", [1, 30])
@pytest.mark.parametrize("denies", [False, True])
def test_many_workers_choose_the_same(twin, small_sample, parts, denies):
    pool, targets = make(twin, 2000, parts=parts, targets=9)
    rules = Rules(budget=100, new_filter=lambda: deny(list(pool.rows())[::2]) if denies else None)
    alone = select_csls(pool, targets, rules)
    for workers in (1, 3):
        many = select_csls(pool, targets, rules, new_scan=Workers(pool, workers))
        assert lines(many) == lines(alone)
        assert lines(many.skipped) == lines(alone.skipped)
        assert lines(many.next_rows) == lines(alone.next_rows) != []
        assert (many.candidates, many.warnings) == (alone.candidates, alone.warnings)


def test_some_lines_are_those_of_all(twin, small_sample):
    pool, targets = make(twin, 300, parts=1)
    sample = PoolSample.draw(pool)
    scan = csls_scan.CslsScan.of(sample.space, targets, sample.rows, sample.ids)
    lines = np.array([3, 1])
    every = scan.scan(0, pool.content[0], 20, Cursors.start(4), np.full(4, -np.inf, np.float32))
    some = scan.take(lines).scan(0, pool.content[0], 20, Cursors.start(2), np.full(2, -np.inf, np.float32))
    assert some.ids.tolist() == every.ids[lines].tolist()
    assert some.scores.tolist() == every.scores[lines].tolist()


def test_no_target_row_gets_more_than_its_share(twin):
    pool, targets = make(twin, 400, targets=10)
    found = select_csls(pool, targets, Rules(budget=20), per_target=1)
    assert np.bincount(found.anchors, minlength=10).max() == 2
    assert len(found.ids) == 20 or "have their share of 2 already" in found.warnings[0]


def test_anchors_are_rows_of_the_target_as_given(twin):
    pool, targets = make(twin, 50, targets=2)
    given_rows = np.vstack([np.zeros_like(targets[:1]), targets[:1], targets[:1], targets[1:]])
    found = select_csls(pool, given_rows, Rules(budget=20, new_filter=lambda: deny(list(pool.rows())[::2])))
    assert set(found.anchors.tolist()) == set(found.skipped.anchors.tolist()) == {1, 3}
    assert found.anchor_rows is not None and found.anchor_rows.shape == given_rows.shape


def test_what_all_rows_share_does_not_count(twin):
    # All rows point nearly the same way; the target differs from the mean as row 0 does, though row 3 is as near.
    rows = np.array([[10, 1, 0], [10, -1, 0], [10, 0, 1], [10, 0, -1]], np.float32)
    found = select_csls(twin.ArrayPool([rows]), np.array([[10, 0.1, 0]], np.float32), Rules(budget=4))
    assert found.ids[0] == 0
    assert found.ids[-1] == 1


@pytest.mark.parametrize("rows", range(1, 22))
def test_tiny_pools(twin, rows):
    pool, targets = make(twin, rows, parts=1, targets=3)
    found = select_csls(pool, targets, Rules(budget=rows))
    assert lines(found) == slow_csls(twin, pool, targets, rows, 4, PoolSample.draw(pool))[0]
    assert found.not_reached + len(found.ids) == rows


def test_one_target_row_may_have_all(twin):
    pool, targets = make(twin, 30, targets=1)
    found = select_csls(pool, targets, Rules(budget=30), per_target=1)
    assert (len(found.ids), found.stop_reason, found.warnings) == (30, "budget", [])


def test_equal_rows_stand_in_order_of_id(twin):
    pool = twin.ArrayPool([np.ones((30, 4), np.float16)] * 2)
    found = select_csls(pool, np.eye(4, dtype=np.float32), Rules(budget=8), per_target=4)
    assert found.ids.tolist() == list(range(8))
    assert set(found.scores.tolist()) == {0.0}
    few = select_csls(pool, np.eye(4, dtype=np.float32), Rules(budget=8), per_target=1)
    assert few.ids.tolist() == [0, 1]
    assert few.warnings == [
        "2 rows are chosen of a budget of 8: the 58 others are nearest to target rows that have their share of 2 "
        "already; a larger share takes them"
    ]


def test_rows_of_zero_length_have_score_zero(twin):
    pool, targets = make(twin, 20, parts=1)
    pool.content[0][[3, 7]] = 0
    found = select_csls(pool, targets, Rules(budget=20))
    assert {row: score for row, score, _ in lines(found)}.items() >= {3: 0.0, 7: 0.0}.items()


def test_an_empty_pool(twin):
    found = select_csls(twin.ArrayPool([]), np.eye(2, dtype=np.float32), Rules(budget=9))
    assert (len(found.ids), found.candidates, found.stop_reason) == (0, 0, "pool_exhausted")
    assert "9" in found.warnings[0]


def test_what_cannot_work_is_said(twin):
    pool, targets = make(twin, 30)
    with pytest.raises(InputError, match="needs a number of rows"):
        select_csls(pool, targets, Rules())
    with pytest.raises(InputError, match="per_target=0"):
        select_csls(pool, targets, Rules(budget=1), per_target=0)
    with pytest.raises(InputError, match="the target has 3 dimensions"):
        select_csls(pool, targets[:, :3], Rules(budget=1))
    pool.content[1][2] = np.nan
    with pytest.raises(CuratorError, match="pool part 1, row 2 holds NaN"):
        select_csls(pool, targets, Rules(budget=1))


def test_the_stored_space_decides(twin, small_sample):
    pool, targets = make(twin, 300)
    kept = {}

    def keep(name, make_array):
        kept.setdefault(name, make_array())
        return kept[name]

    first = PoolSample.draw(pool, keep=keep)
    assert np.array_equal(first.space.to_array(), kept["space"])
    # Whatever another machine computes, what is stored is used.
    kept["space"] = HalfWhitened(first.space.mean, -first.space.directions[:3], first.space.deviations[:3]).to_array()
    again = PoolSample.draw(pool, keep=keep)
    assert np.array_equal(again.space.directions, -first.space.directions[:3])
    found = select_csls(pool, targets, Rules(budget=50), sample=again)
    assert lines(found) == slow_csls(twin, pool, targets, 50, 4, again, neighbours=5)[0]


def test_a_sample_is_the_first_rows_in_hash_order_however_it_is_read(twin, small_sample):
    pool, _ = make(twin, 300)
    rows = pool.rows()
    lengths = {part: len(block) for part, block in pool.content.items()}
    ids = first_in_hash_order(lengths, 40)
    sample = PoolSample.draw(pool)
    read = PoolSample.draw(pool, lengths=lengths, read_rows=lambda ids: np.stack([rows[row] for row in ids.tolist()]))
    assert sample.ids.tolist() == read.ids.tolist() == ids.tolist()
    assert sample.rows.tolist() == read.rows.tolist() == [rows[row].tolist() for row in ids.tolist()]
    assert np.array_equal(sample.space.to_array(), read.space.to_array())
