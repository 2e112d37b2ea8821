from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from curator.errors import InputError, UnusableInput
from curator.index import select_ivf
from curator.search.scoring import exact_scores
from curator.selection import Rules, deny, select_simcore

LIMITS = [(30, None), (600, None), (None, 0.8), (6000, None)]


KINDS = ["SQ8", "PQ12", "PQ1"]
"""PQ1 codes 24 dimensions in a byte: next to nothing is known from it."""


def ivf(made, recall, progress=None, **limits):
    rules = Rules(**limits)
    return select_ivf(made.contents, made.centroids, rules, recall=recall, read_rows=made.read_rows, progress=progress)


@pytest.mark.parametrize("kind", ["Flat", *KINDS])
@pytest.mark.parametrize(("budget", "stop"), LIMITS)
def test_a_recall_of_1_is_the_exact_selection(by_kind, kind, budget, stop):
    made = by_kind(kind)
    limits = {"budget": budget, "stop": stop, "new_filter": lambda: deny([3, 1 << 32 | 7])}
    exact = select_simcore(made.pool, made.centroids, Rules(**limits))
    found, recall = ivf(made, 1.0, **limits)
    for name in ("ids", "scores", "anchors", "anchor_rows", "rounds"):
        assert np.array_equal(getattr(found, name), getattr(exact, name))
    assert (found.stop_reason, found.candidates, found.stopped_at) == (
        exact.stop_reason,
        exact.candidates,
        exact.stopped_at,
    )
    assert recall.proven and (recall.low, recall.estimate) == (1.0, 1.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("budget", "stop"), LIMITS)
def test_codes_lose_nothing_whatever_the_recall(by_kind, made, kind, budget, stop):
    coded = by_kind(kind)
    found, recall = ivf(coded, 0.8, budget=budget, stop=stop)
    plain, plain_recall = ivf(made, 0.8, budget=budget, stop=stop)
    for name in ("ids", "scores", "anchors", "anchor_rows", "rounds"):
        assert np.array_equal(getattr(found, name), getattr(plain, name))
    assert recall == plain_recall
    rows = coded.read_rows(found.ids)
    assert np.array_equal(found.scores, exact_scores(rows, coded.centroids[found.anchors]))


def test_good_codes_spare_reads_of_the_pool(by_kind):
    reads = {}
    for kind in KINDS:
        made = by_kind(kind)
        before = made.refined
        _, recall = ivf(made, 0.9, budget=100, stop=None)
        reads[kind] = (made.refined - before) / (recall.scanned * made.rows)
    assert reads["SQ8"] < reads["PQ12"] < reads["PQ1"] and reads["SQ8"] < 0.5


def test_rows_that_run_out_are_read_further_without_changing_the_result(made):
    deep, _ = ivf(made, 0.9, budget=600, stop=None)
    shallow, _ = ivf(made, 0.9, budget=600, stop=None, k=3)
    assert np.array_equal(deep.ids, shallow.ids)
    assert shallow.passes > deep.passes


def test_lists_are_left_unread_and_the_selection_is_near(made):
    exact = select_simcore(made.pool, made.centroids, Rules(budget=300))
    found, recall = ivf(made, 0.8, budget=300, stop=None)
    assert recall.scanned < 0.9
    assert len(np.intersect1d(found.ids, exact.ids)) > 0.75 * 300
    assert recall.low <= recall.estimate <= recall.high


def test_a_pool_is_exhausted_only_when_all_of_it_was_read(made):
    found, recall = ivf(made, 0.5, budget=7000, stop=None)
    assert found.stop_reason == "pool_exhausted"
    assert len(found.ids) == made.rows
    assert recall.lists_read == recall.lists or recall.proven
    assert recall.extensions > 0


def test_a_filter_is_asked_once_the_lists_are_read_that_a_selection_without_it_needs(made):
    filters, told = [], Counter()

    def new_filter():
        filters.append(deny([0]))
        return filters[-1]

    selection, recall = ivf(made, 0.9, budget=3000, new_filter=new_filter, progress=told.update)

    assert (len(filters), recall.extensions) == (1, 1)
    # What was told of the selections before is taken back.
    assert told["chosen"] == len(selection) == 3000


def test_a_filter_that_remembers_is_made_anew_for_each_selection(made):
    _, without = ivf(made, 0.9, budget=300)
    near, _ = ivf(made, 1.0, budget=3000)
    filters = []

    def new_filter():
        filters.append(deny(near.ids))
        return filters[-1]

    # All that is near is denied, so the lists of what lies farther off are needed, too.
    _, recall = ivf(made, 0.9, budget=300, new_filter=new_filter)

    assert len(filters) == 1 + recall.extensions - without.extensions > 1


def test_the_interval_holds_the_true_recall_about_as_often_as_it_says(make, tmp_path):
    held = 0
    for seed in range(20):
        rows, centroids = make.rows(4000, 16, seed)
        made = make.index(tmp_path / str(seed), np.array_split(rows, 3), cuts=(0, 3), lists=32, rate=0.2)
        made = SimpleNamespace(**vars(made), centroids=centroids)
        found, recall = ivf(made, 0.8, budget=400, stop=None)
        scores = np.concatenate([rows.astype(np.float32) for _, rows in made.pool.parts()]) @ centroids.T
        wanted = (scores > found.lower_bounds + 1e-6).any(axis=1)
        ids = np.concatenate([np.arange(len(part)) + (number << 32) for number, part in made.pool.parts()])
        # What the search returned: all rows read above a cut were chosen.
        true = np.isin(ids[wanted], found.ids).sum() / wanted.sum()
        held += recall.low <= true <= recall.high
    assert held >= 17


def test_bad_arguments_are_refused(made):
    with pytest.raises(InputError, match=r"recall=0\.0: it is a share above 0"):
        ivf(made, 0.0, budget=3, stop=None)
    other = SimpleNamespace(**{**vars(made), "centroids": made.centroids[:, :8].copy()})
    with pytest.raises(UnusableInput, match="different dimensions"):
        ivf(other, 0.9, budget=3, stop=None)
