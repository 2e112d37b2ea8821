import numpy as np
import pytest

from curator.errors import CuratorError, InputError
from curator.selection import SELECTORS, Ranking, Request, Rules, Selector, deny, find_selector
from curator.selection.ranking import choose_ranked
from curator.selection.selectors import SELECTOR_SETTINGS


def pool_of(twin, *lengths):
    return twin.ArrayPool([np.zeros((n, 2), np.float16) for n in lengths])


IDS = np.array([1 << 32, 2, 0, 1, 1 << 32 | 1])


def test_the_first_rows_of_a_ranking_that_the_filter_accepts(twin):
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5], np.float32)
    rules = Rules(budget=2, new_filter=lambda: deny([2], "list"))
    found = choose_ranked(pool_of(twin, 3, 2), Ranking(IDS, scores), rules)
    assert found.ids.tolist() == [1 << 32, 0]
    assert found.scores.tolist() == scores[[0, 2]].tolist()
    assert (found.skipped.ids.tolist(), found.skipped.because) == ([2], ["list"])
    assert (found.stop_reason, found.candidates, found.not_reached) == ("budget", 5, 2)
    assert set(found.rounds.tolist()) == set(found.anchors.tolist()) == {-1}


def test_without_a_budget_the_whole_ranking_is_chosen(twin):
    found = choose_ranked(pool_of(twin, 3, 2), Ranking(IDS[:3]), Rules())
    assert found.ids.tolist() == IDS[:3].tolist()
    assert np.isnan(found.scores).all()
    assert (found.stop_reason, found.not_reached, found.warnings) == ("selector", 2, [])


def test_a_ranking_that_ends_before_the_budget_is_told(twin):
    found = choose_ranked(pool_of(twin, 3, 2), Ranking(IDS[:3]), Rules(budget=4))
    assert (found.stop_reason, len(found.ids)) == ("selector", 3)
    assert "ranked 3 rows, too few for the budget of 4: 3 chosen" in found.warnings[0]
    found = choose_ranked(pool_of(twin, 3, 2), Ranking(IDS), Rules(budget=9))
    assert (found.stop_reason, len(found.ids), found.not_reached) == ("pool_exhausted", 5, 0)


@pytest.mark.parametrize(
    ("ids", "scores", "told"),
    [
        ([0, 0], None, "a row twice"),
        ([0, 3], None, "that the pool does not have"),
        ([5 << 32], None, "that the pool does not have"),
        ([0, 1], [0.5, np.nan], "NaN"),
        ([0, 1], [0.5], "shape"),
    ],
)
def test_a_wrong_ranking(twin, ids, scores, told):
    ranking = Ranking(np.array(ids), None if scores is None else np.array(scores, np.float32))
    with pytest.raises(CuratorError, match=told):
        choose_ranked(pool_of(twin, 3), ranking, Rules(budget=1))


class Backwards(Selector):
    has_scores = False

    def rank(self, request):
        ((part, rows),) = request.pool.parts()
        request.progress({"rows": len(rows)})
        return Ranking(np.arange(len(rows))[::-1] + (part << 32))


def test_a_selector_of_ones_own_is_asked_for_each_target(twin):
    told = []
    requests = [Request(pool_of(twin, 4), np.eye(2), Rules(budget=budget), {}, told.append) for budget in (1, 3)]
    assert [found.ids.tolist() for found in Backwards().select(requests)] == [[3], [3, 2, 1]]


@pytest.mark.parametrize("name", SELECTORS.names)
def test_built_in_selectors(twin, name):
    selector = find_selector(name)
    assert selector.reads <= SELECTOR_SETTINGS
    rng = np.random.default_rng(0)
    pool = twin.ArrayPool([twin.unit_rows(rng.standard_normal((30, 4)), np.float16)])
    settings = {setting: {"clusters": 3, "seed": 1, "per_target": 99}.get(setting) for setting in selector.reads}
    target = twin.unit_rows(rng.standard_normal((5, 4)), np.float16)
    first, second = selector.select([Request(pool, target, Rules(budget=budget), settings) for budget in (6, 9)])
    assert first.ids.tolist() == second.ids[:6].tolist()
    assert (first.anchor_rows is not None) == selector.has_anchors == (first.anchors.min() >= 0)
    assert np.isfinite(first.scores).all() == selector.has_scores
    assert (first.rounds.min() > 0) == selector.has_rounds


def test_what_is_no_selector():
    with pytest.raises(InputError, match="this is no selector"):
        find_selector("posixpath:join")
