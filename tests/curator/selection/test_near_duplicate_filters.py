import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from curator.search.scoring import exact_scores
from curator.search.similarity_join import SimilarityJoin, directions
from curator.selection import (
    Rejection,
    Rules,
    duplicate_filter,
    near_evaluation,
    next_round,
    no_duplicates,
    select_random,
    select_simcore,
)


def similarity(row, other):
    norm = np.linalg.norm(other.astype(np.float64))
    return exact_scores(row[None], (other.astype(np.float64) / norm).astype(np.float32)[None])[0]


def reader_of(pool):
    rows = pool.rows()
    dim = len(next(iter(rows.values())))
    return lambda ids: np.array([rows[number] for number in ids.tolist()], np.float16).reshape(len(ids), dim)


def slow_filter(twin, pool, hashes, threshold):
    """The rule in plain words: compared with every chosen row, one by one."""
    rows, chosen = pool.rows(), []

    def row_filter(number):
        near = [(similarity(rows[number], rows[other]), other) for other in chosen]
        for found, other in near:
            if hashes[number] and hashes[number] == hashes[other] and found >= np.float32(0.99):
                return Rejection("duplicate", "", other, float(found))
        best = max((found for found, _ in near), default=-1.0)
        if best >= np.float32(threshold):
            return Rejection("near_duplicate", "", next(o for f, o in near if f == best), float(best))
        chosen.append(number)
        return None

    return twin.one_by_one(row_filter)


@pytest.mark.parametrize("size", ["as it is", "small"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_simcore_without_duplicates_as_the_slow_rule_has_it(twin, size, data):
    # Small: rows are forgotten and looked at again, and blocks end within a round.
    sizes = {"HELD_ROWS": 4, "AHEAD_ROWS": 2} if size == "small" else {}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in sizes.items():
            patch.setattr(duplicate_filter, name, value)
            patch.setattr(next_round, name, value, raising=False)
        patch.setattr(next_round, "FILTERED_ROWS", 3 if sizes else next_round.FILTERED_ROWS)
        check_against_the_slow_rule(twin, data)


def check_against_the_slow_rule(twin, data):
    dim = data.draw(st.integers(2, 3))
    grid = st.lists(st.integers(-3, 3), min_size=dim, max_size=dim).filter(any)
    rows = np.array(data.draw(st.lists(grid, min_size=1, max_size=25)), np.float16).reshape(-1, dim)
    pool = twin.ArrayPool(twin.split(rows, data.draw(st.lists(st.integers(0, len(rows)), max_size=3))))
    centroids = twin.unit_rows(data.draw(st.lists(grid, min_size=1, max_size=5)))
    # Equal rows are not always equal files.
    hashes = {n: data.draw(st.sampled_from(["a", "b", None])) for n in pool.rows()}
    threshold = data.draw(st.sampled_from([0.6, 0.95, 1.0]))
    limits = {"budget": data.draw(st.none() | st.integers(1, 30)), "stop": data.draw(st.sampled_from([None, 0.5]))}
    slow = twin.simcore(pool, centroids, row_filter=slow_filter(twin, pool, hashes, threshold), **limits)
    if limits["budget"] is None and limits["stop"] and slow.reference <= 0:
        # Without a budget this is an error, which has a test of its own.
        limits["stop"] = None
        slow = twin.simcore(pool, centroids, row_filter=slow_filter(twin, pool, hashes, threshold), **limits)
    row_filter = no_duplicates(
        reader_of(pool), lambda ids: [hashes[n] for n in ids.tolist()], directions(rows), threshold
    )
    fast = select_simcore(
        pool, centroids, Rules(new_filter=lambda: row_filter, k=data.draw(st.integers(1, 9)), **limits)
    )
    twin.assert_same(fast, slow)


def test_the_first_rows_do_not_depend_on_the_budget(twin):
    rng = np.random.default_rng(0)
    rows = np.repeat(twin.unit_rows(rng.standard_normal((60, 8)), np.float16), 3, axis=0)
    pool, centroids = twin.ArrayPool([rows]), twin.unit_rows(rng.standard_normal((6, 8)))

    def choose(budget):
        row_filter = no_duplicates(reader_of(pool), lambda ids: [None] * len(ids), directions(rows), 0.9)
        return select_simcore(pool, centroids, Rules(budget=budget, new_filter=lambda: row_filter))

    whole = choose(50)
    for budget in (1, 7, 30):
        part = choose(budget)
        assert part.ids.tolist() == whole.ids[:budget].tolist()
        assert part.skipped.ids.tolist() == whole.skipped.ids[: len(part.skipped)].tolist()
    assert len(whole.skipped) > 50


def test_a_hash_is_looked_up_once(twin):
    """Each look-up may read a group of the metadata, and a row is near to many that come one after another."""
    rows = np.repeat(twin.unit_rows(np.random.default_rng(0).standard_normal((4, 3))), 100, axis=0).astype(np.float16)
    pool, asked = twin.ArrayPool(np.split(rows, 4)), []

    def hashes(ids):
        asked.extend(ids.tolist())
        return [str(number) for number in ids.tolist()]

    without = no_duplicates(reader_of(pool), hashes, directions(rows.astype(np.float32)), 0.999)
    chosen = select_simcore(pool, twin.unit_rows(rows[:2]), Rules(10, new_filter=lambda: without))
    assert (len(chosen), len(chosen.skipped)) == (4, 396)
    assert len(asked) == len(set(asked)) == 400


@pytest.mark.parametrize("threshold", [0.5, 0.97])
def test_evaluation_rows_keep_near_rows_out(twin, threshold):
    rng = np.random.default_rng(1)
    rows = twin.unit_rows(rng.standard_normal((300, 6)), np.float16)
    evaluation = np.concatenate([rows[[5, 17]], twin.unit_rows(rng.standard_normal((10, 6)), np.float16)])
    ids = np.arange(12) + (3 << 32)
    held = SimilarityJoin(directions(evaluation))
    held.add(evaluation)
    pool = twin.ArrayPool([rows])
    row_filter = near_evaluation(reader_of(pool), held, ids, threshold)
    done = select_random(pool, Rules(budget=300, new_filter=lambda: row_filter), seed=0)
    best = {
        n: max((similarity(row, other), -i) for i, other in enumerate(evaluation)) for n, row in pool.rows().items()
    }
    wanted = {n: 3 << 32 | -place for n, (value, place) in best.items() if value >= np.float32(threshold)}
    assert dict(zip(done.skipped.ids.tolist(), done.skipped.matches.tolist(), strict=True)) == wanted
    assert {5, 17} <= wanted.keys()
    assert set(done.skipped.reasons) == {"near_evaluation"}
    assert done.skipped.similarities.min() >= np.float32(threshold)
