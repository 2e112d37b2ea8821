import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from curator.errors import CuratorError, InputError
from curator.selection import Rejection, Rules, deny, no_filter, objective, select_simcore


def both(twin, pool, centroids, *, new_filter=None, k=None, block_rows=16384, **limits):
    """The selection, after checking it against the twin and its own accounts."""
    new_filter = new_filter or no_filter
    fast = select_simcore(pool, centroids, Rules(new_filter=new_filter, k=k, **limits), block_rows=block_rows)
    slow = twin.simcore(pool, centroids, row_filter=new_filter(), **limits)
    twin.assert_same(fast, slow)
    check_outlook(twin, fast, pool, centroids, new_filter, limits, k)
    assert fast.candidates == len(pool.rows())
    assert fast.not_reached >= 0
    if fast.stop_reason == "pool_exhausted":
        assert fast.not_reached == 0
    if len(fast.ids):
        assert fast.objective == twin.objective(pool, centroids, fast.ids.tolist())
    else:
        assert math.isnan(fast.objective)
    return fast


def check_outlook(twin, fast, pool, centroids, new_filter, limits, k):
    """What is said of the rows behind the end, against runs of the twin that went on."""
    reference = {"reference_round": limits.get("reference_round", 1)}
    following = [number for number, *_ in twin.simcore(pool, centroids).chosen]
    if new_filter is no_filter:
        ahead = following[len(fast.ids) :][:100]
        assert fast.next_rows.ids.tolist() == (ahead if k is None else ahead[: len(fast.next_rows)])
    assert not set(fast.next_rows.ids.tolist()) & {*fast.ids.tolist(), *fast.skipped.ids.tolist()}
    for told in fast.thresholds:
        run = twin.simcore(pool, centroids, stop=told.stop, row_filter=new_filter(), **reference)
        if told.exact:
            assert (told.rounds, told.chosen) == (len(run.table), len(run.chosen))
        elif told.more and new_filter is no_filter:
            assert told.chosen <= len(run.chosen)
        assert k is not None or not told.more
        assert told.exact or told.more or new_filter is not no_filter
    if stop := limits.get("stop"):
        assert stop in [told.stop for told in fast.thresholds] or not fast.reference_mean > 0


def no_repeats(twin, pool):
    """A row_filter with a memory: objects to rows equal to one already chosen."""
    rows = pool.rows()

    def make():
        seen = {}

        def row_filter(number):
            first = seen.setdefault(rows[number].tobytes(), number)
            return None if first == number else Rejection("duplicate", str(first))

        return twin.one_by_one(row_filter)

    return make


AXES = np.eye(2, dtype=np.float32)


def test_a_round_by_hand(twin):
    # Columns are the scores with the two centroids, times 5.
    rows = np.array([[3, 4], [4, 3], [5, 0], [0, 5], [-3, 4]], np.float16)
    chosen = both(twin, twin.ArrayPool([rows]), AXES)
    assert chosen.ids.tolist() == [2, 3, 0, 1, 4]
    assert chosen.anchors.tolist() == [0, 1, 1, 0, 1]
    assert chosen.rounds.tolist() == [1, 1, 2, 2, 3]
    assert chosen.rounds_table.chosen.tolist() == [2, 2, 1]
    # In round 3 both centroids want the last row: the mean is over both, the credit is the better one's.
    assert chosen.rounds_table.mean_score.tolist() == pytest.approx([1.0, 0.8, 0.1])
    assert chosen.stop_reason == "pool_exhausted"


def test_a_row_of_two_centroids_counts_once_and_goes_to_the_lower(twin):
    rows = np.array([[1, 1], [1, 0]], np.float16)
    diagonal = twin.unit_rows([[1, 1], [1, 1]])
    chosen = both(twin, twin.ArrayPool([rows]), diagonal)
    assert chosen.ids.tolist() == [0, 1]
    assert chosen.anchors.tolist() == [0, 0]
    assert chosen.rounds_table.chosen.tolist() == [1, 1]


def test_equal_rows_go_by_id_across_parts(twin):
    rows = np.ones((2, 2), np.float16)
    pool = twin.ArrayPool({5: rows, 3: rows, 4: rows[:0]})
    chosen = both(twin, pool, AXES, budget=3)
    assert chosen.ids.tolist() == [3 << 32, 3 << 32 | 1, 5 << 32]


@pytest.mark.parametrize("k", [1, 2, 7, None])
@pytest.mark.parametrize("block_rows", [1, 5, 16384])
def test_k_and_blocks_change_nothing(twin, k, block_rows):
    rng = np.random.default_rng(0)
    rows = twin.unit_rows(rng.standard_normal((60, 3)), np.float16)
    pool = twin.ArrayPool(twin.split(rows, [0, 17, 17, 40]))
    centroids = twin.unit_rows(rng.standard_normal((5, 3)))
    chosen = both(twin, pool, centroids, k=k, block_rows=block_rows)
    assert len(chosen.ids) == 60
    assert (chosen.passes > 1) == (k is not None)


def test_parts_in_any_order(twin):
    rng = np.random.default_rng(1)
    parts = twin.split(rng.integers(-2, 3, (40, 3)).astype(np.float16), [9, 20, 33])
    forwards = twin.ArrayPool(dict(enumerate(parts)))
    backwards = twin.ArrayPool(dict(reversed(list(enumerate(parts)))))
    centroids = twin.unit_rows(rng.standard_normal((4, 3)))
    first = both(twin, forwards, centroids, budget=23, k=3)
    second = both(twin, backwards, centroids, budget=23, k=3)
    assert first.ids.tolist() == second.ids.tolist()


def test_every_budget_is_a_prefix(twin):
    rng = np.random.default_rng(2)
    pool = twin.ArrayPool([rng.integers(-2, 3, (30, 3)).astype(np.float16)])
    centroids = twin.unit_rows(rng.standard_normal((6, 3)))
    whole = select_simcore(pool, centroids, Rules(new_filter=lambda: deny([4, 9, 12])))
    for budget in range(1, 28):
        part = both(twin, pool, centroids, budget=budget, new_filter=lambda: deny([4, 9, 12]))
        assert part.ids.tolist() == whole.ids[:budget].tolist()
        assert part.skipped.ids.tolist() == whole.skipped.ids[: len(part.skipped)].tolist()
        assert (part.stop_reason, part.warnings) == ("budget", [])
        rounds = len(part.rounds_table.round)
        assert part.rounds_table.mean_score.tolist() == whole.rounds_table.mean_score[:rounds].tolist()


def test_a_row_refused_after_the_last_of_the_budget_is_not_reached(twin):
    # Centroid 1 would skip row 1 and then want row 0, which centroid 0 took first.
    rows = np.array([[4, 3], [0, 1]], np.float16)
    first = twin.unit_rows([[4, 3], [0.1, 1]])
    chosen = both(twin, twin.ArrayPool([rows]), first, budget=1, new_filter=lambda: deny([1]))
    assert chosen.ids.tolist() == [0]
    assert chosen.skipped.ids.tolist() == []
    assert chosen.not_reached == 1


def test_denied_rows_are_passed_over_when_their_turn_comes(twin):
    rows = np.array([[1, 0], [4, 3], [0, 1], [-1, 0]], np.float16)
    chosen = both(twin, twin.ArrayPool([rows]), AXES, budget=2, new_filter=lambda: deny([0, 3], "list"))
    assert chosen.ids.tolist() == [2, 1]
    assert chosen.skipped.ids.tolist() == [0]
    assert (chosen.skipped.reasons, chosen.skipped.because) == (["denied"], ["list"])
    assert (chosen.skipped.scores.tolist(), chosen.skipped.anchors.tolist()) == ([1.0], [0])
    assert chosen.not_reached == 1


def test_all_rows_denied(twin):
    pool = twin.ArrayPool([np.eye(3, dtype=np.float16)])
    chosen = both(twin, pool, np.eye(3, dtype=np.float32), budget=2, new_filter=lambda: deny(range(3)))
    assert chosen.stop_reason == "pool_exhausted"
    assert (len(chosen.ids), len(chosen.skipped), len(chosen.rounds_table.round)) == (0, 3, 0)
    assert "budget of 2" in chosen.warnings[0]


def test_a_filter_that_remembers_is_asked_in_order_of_choice(twin):
    rng = np.random.default_rng(3)
    pool = twin.ArrayPool(twin.split(rng.integers(-1, 2, (50, 3)).astype(np.float16), [20]))
    centroids = twin.unit_rows(rng.standard_normal((5, 3)))
    for k in (1, 4, None):
        chosen = both(twin, pool, centroids, k=k, new_filter=no_repeats(twin, pool))
        assert len({row.tobytes() for row in pool.content[0]}) <= len(chosen.ids) < 28


def test_stop_rule_by_hand(twin):
    # One centroid: the round means are the scores themselves.
    angles = np.arccos([1.0, 0.97, 0.94, 0.9])
    rows = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    pool, one = twin.ArrayPool([rows]), AXES[:1]
    chosen = both(twin, pool, one, stop=0.95)
    assert chosen.ids.tolist() == [0, 1]
    assert chosen.stop_reason == "stop_rule"
    assert chosen.stopped_at == (3, pytest.approx(0.94), pytest.approx(0.94))
    assert chosen.reference_mean == 1.0
    assert chosen.rounds_table.ratio.tolist() == pytest.approx([1.0, 0.97])
    # Against round 2 even 0.94 is near enough, and 0.9 is not.
    assert both(twin, pool, one, stop=0.95, reference_round=2).ids.tolist() == [0, 1, 2]
    assert both(twin, pool, one, stop=0.95, reference_round=4).stop_reason == "pool_exhausted"


def test_exactly_the_threshold_goes_on(twin):
    rows = np.array([[1, 0], [3, 4]], np.float16)
    half = float(np.float32(0.6))
    assert both(twin, twin.ArrayPool([rows]), AXES[:1], stop=half).ids.tolist() == [0, 1]
    assert both(twin, twin.ArrayPool([rows]), AXES[:1], stop=half + 1e-9).ids.tolist() == [0]


def test_whichever_limit_comes_first(twin):
    rows = np.array([[1, 0], [4, 3], [3, 4], [0, 1]], np.float16)
    pool, one = twin.ArrayPool([rows]), AXES[:1]
    assert both(twin, pool, one, stop=0.7, budget=1).stop_reason == "budget"
    assert both(twin, pool, one, stop=0.7, budget=2).stop_reason == "budget"
    assert both(twin, pool, one, stop=0.7, budget=3).stop_reason == "stop_rule"


@pytest.mark.parametrize("reference_round", [1, 20])
def test_reference_rounds_on_random_rows(twin, reference_round):
    rng = np.random.default_rng(4)
    pool = twin.ArrayPool([twin.unit_rows(rng.normal((2, 0), 1, (120, 2)), np.float16)])
    centroids = twin.unit_rows(rng.normal((2, 0), 1, (2, 2)))
    chosen = both(twin, pool, centroids, stop=0.97, reference_round=reference_round, k=8)
    assert chosen.stop_reason == "stop_rule"
    assert np.isnan(chosen.rounds_table.ratio[: reference_round - 1]).all()
    assert chosen.rounds_table.ratio[reference_round - 1] == 1.0


def test_a_reference_mean_that_is_not_positive_turns_the_rule_off(twin):
    rows = np.array([[-1, 0], [-3, 4]], np.float16)
    chosen = both(twin, twin.ArrayPool([rows]), AXES[:1], stop=0.95, budget=3)
    assert chosen.ids.tolist() == [1, 0]
    assert chosen.stop_reason == "pool_exhausted"
    assert chosen.thresholds == []
    assert chosen.reference_mean < 0
    assert np.isnan(chosen.rounds_table.ratio).all()
    assert "not positive" in chosen.warnings[0]


def test_a_reference_mean_that_is_not_positive_ends_a_run_that_nothing_else_would_end(twin):
    pool = twin.ArrayPool([np.array([[1, 0], [-1, 0], [-3, 4]], np.float16)])
    with pytest.raises(CuratorError, match=r"round 2 is not positive.*the whole pool") as raised:
        select_simcore(pool, AXES[:1], Rules(stop=0.95, reference_round=2))
    assert not isinstance(raised.value, InputError)


def test_without_a_stop_rule_nobody_is_warned_of_its_reference(twin):
    pool = twin.ArrayPool([np.array([[-1, 0]], np.float16)])
    assert both(twin, pool, AXES[:1], budget=1).warnings == []


def test_fewer_rows_than_centroids(twin):
    pool = twin.ArrayPool([np.array([[1, 2], [2, 1]], np.float16)])
    centroids = twin.unit_rows(np.random.default_rng(5).standard_normal((9, 2)))
    assert len(both(twin, pool, centroids, budget=50).ids) == 2


def test_all_rows_equal(twin):
    pool = twin.ArrayPool([np.full((20, 2), 0.5, np.float16)])
    chosen = both(twin, pool, AXES, k=3)
    assert chosen.ids.tolist() == list(range(20))


def test_zero_rows_score_zero(twin):
    rows = np.array([[0, 0], [1, 0], [-1, 0]], np.float16)
    assert both(twin, twin.ArrayPool([rows]), AXES[:1]).ids.tolist() == [1, 0, 2]


@pytest.mark.parametrize("parts", [[], [np.empty((0, 2), np.float16)]])
def test_an_empty_pool_is_exhausted(parts, twin):
    chosen = select_simcore(twin.ArrayPool(parts), AXES, Rules(budget=3, stop=0.95))
    assert (len(chosen.ids), chosen.candidates, chosen.stop_reason) == (0, 0, "pool_exhausted")
    assert len(chosen.warnings) == 1


def test_a_budget_above_the_pool_is_a_warning(twin):
    pool = twin.ArrayPool([np.eye(2, dtype=np.float16)])
    chosen = both(twin, pool, AXES, budget=3)
    assert (len(chosen.ids), chosen.stop_reason) == (2, "pool_exhausted")
    assert "3" in chosen.warnings[0]
    assert both(twin, pool, AXES, budget=2).warnings == []


def test_one_pass_where_the_rows_last(twin):
    rng = np.random.default_rng(6)
    pool = twin.ArrayPool([rng.standard_normal((50, 4)).astype(np.float16)])
    centroids = twin.unit_rows(rng.standard_normal((3, 4)))
    chosen = select_simcore(pool, centroids, Rules(budget=30))
    assert (chosen.passes, pool.reads) == (1, 1)


def test_a_larger_k_where_rows_run_out(twin):
    pool = twin.ArrayPool([np.random.default_rng(7).standard_normal((40, 4)).astype(np.float16)])
    chosen = both(twin, pool, np.eye(4, dtype=np.float32)[:1], budget=20, k=4)
    # 4, then twice the 16 that are left.
    assert (chosen.passes, chosen.k) == (2, 32)


@given(data=st.data())
@settings(max_examples=150)
def test_equals_the_twin(twin, data):
    dim = data.draw(st.integers(1, 3))
    grid = st.lists(st.integers(-2, 2), min_size=dim, max_size=dim)
    rows = np.array(data.draw(st.lists(grid, min_size=1, max_size=25)), np.float16).reshape(-1, dim)
    nonzero = grid.filter(any)
    centroids = twin.unit_rows(data.draw(st.lists(nonzero, min_size=1, max_size=5)))
    cuts = data.draw(st.lists(st.integers(0, len(rows)), max_size=4))
    parts = list(enumerate(twin.split(rows, cuts)))
    pool = twin.ArrayPool(dict(data.draw(st.permutations(parts))))
    filters = {
        "none": None,
        "denied": lambda: deny(sorted(pool.rows())[::data_step]),
        "repeats": no_repeats(twin, pool),
    }
    data_step = data.draw(st.integers(1, 4))
    limits = {
        "budget": data.draw(st.none() | st.integers(1, len(rows) + 2)),
        "stop": data.draw(st.none() | st.sampled_from([0.1, 0.5, 0.9, 1.0])),
        "reference_round": data.draw(st.integers(1, 3)),
    }
    new_filter = filters[data.draw(st.sampled_from(sorted(filters)))]
    if limits["budget"] is None and limits["stop"]:
        # Without a budget this is an error, which has a test of its own.
        slow = twin.simcore(pool, centroids, **limits, row_filter=new_filter and new_filter())
        limits["stop"] = None if slow.reference <= 0 else limits["stop"]
    both(
        twin,
        pool,
        centroids,
        **limits,
        k=data.draw(st.none() | st.integers(1, 6)),
        block_rows=data.draw(st.sampled_from([1, 3, 16384])),
        new_filter=new_filter,
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"budget": 0}, "budget=0"),
        ({"stop": 0.0}, "stop=0.0"),
        ({"stop": 1.5}, "stop=1.5"),
        ({"reference_round": 0}, "reference_round=0"),
        ({"k": 0}, "k=0"),
    ],
)
def test_bad_rules(wrong, message):
    with pytest.raises(InputError, match=message):
        Rules(**wrong)


def test_progress_tells_rows_read_and_chosen(twin):
    told = []
    pool = twin.ArrayPool([np.eye(2, dtype=np.float16), np.eye(2, dtype=np.float16)])
    select_simcore(pool, AXES, Rules(budget=4), progress=told.append)
    assert told == [{"rows": 2}, {"rows": 2}, {"chosen": 2}, {"chosen": 2}]


def test_rows_of_a_finished_pass_are_taken_back(twin):
    told = []
    pool = twin.ArrayPool([np.random.default_rng(7).standard_normal((40, 4)).astype(np.float16)])
    chosen = select_simcore(pool, np.eye(4, dtype=np.float32)[:1], Rules(budget=20, k=4), progress=told.append)
    assert chosen.passes == 2
    assert [entry["rows"] for entry in told if "rows" in entry] == [40, -40, 40]


def test_objective_of_any_rows(twin):
    rng = np.random.default_rng(8)
    pool = twin.ArrayPool(twin.split(rng.standard_normal((30, 3)).astype(np.float16), [10, 10, 21]))
    centroids = twin.unit_rows(rng.standard_normal((4, 3)))
    ids = [2 << 32 | 3, 1, 3 << 32 | 8]
    assert objective(pool, centroids, np.array(ids)) == twin.objective(pool, centroids, ids)
    assert math.isnan(objective(pool, centroids, np.empty(0, np.int64)))
