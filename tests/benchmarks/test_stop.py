import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from benchmarks.dense_search import DenseSearch
from benchmarks.groups import Group
from benchmarks.stop import Curve, ends, f1
from curator.search import MemoryPool
from curator.selection import Rules, find_centroids, run_rounds, select_simcore


def test_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    precision, recall = 3 / 4, 3 / 6
    assert f1(3, 4, 6) == pytest.approx(2 * precision * recall / (precision + recall))


def make_group(seed: int, relevant: int = 40, others: int = 80, target: int = 12) -> Group:
    """A target and its own kind around one direction, other rows anywhere."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(target + relevant + others, 6))
    rows[: target + relevant, 0] += 2.0
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    of_kind = np.arange(relevant + others) < relevant
    classes = np.where(of_kind, 0, -1)
    return Group("made", rows[:target], rows[target:], of_kind, classes, "made", np.arange(target))


@given(st.integers(0, 1000), st.floats(0.5, 1.0), st.sampled_from([1, 2, 3]))
@settings(max_examples=30, deadline=None)
def test_a_rule_ends_where_the_selection_with_that_rule_ends(seed: int, stop: float, reference: int) -> None:
    group = make_group(seed)
    pool, centroids = MemoryPool(group.pool), find_centroids(group.target, None, 0)
    curve = Curve.of(select_simcore(pool, centroids, Rules()), group.relevant)
    by_rule = select_simcore(pool, centroids, Rules(stop=stop, reference_round=reference))
    end = curve.end(stop, reference)
    assert end is not None
    assert curve.chosen[end - 1] == len(by_rule)
    assert curve.f1[end - 1] == f1(int(group.relevant[by_rule.ids].sum()), len(by_rule), 40)


@given(st.integers(0, 1000), st.integers(1, 120))
@settings(max_examples=30, deadline=None)
def test_what_a_budget_already_decides_is_what_the_whole_pool_says(seed: int, budget: int) -> None:
    group = make_group(seed)
    pool, centroids = MemoryPool(group.pool), find_centroids(group.target, None, 0)
    whole = Curve.of(select_simcore(pool, centroids, Rules()), group.relevant)
    part = Curve.of(select_simcore(pool, centroids, Rules(budget=budget)), group.relevant)
    assert part.best(40) in (None, whole.best(40))
    assert part.end(0.9, 2) in (None, whole.end(0.9, 2))


def test_every_rule_of_a_group_is_found_and_none_beats_the_best_round() -> None:
    group = make_group(0)
    found = ends(group, group.target)
    f1s = [found[name]["f1"] for name in ("auto", "paper", "authors")]
    assert max(f1s) <= found["best"]["f1"] <= 1


@given(st.integers(0, 1000), st.integers(1, 130), st.integers(1, 60))
@settings(max_examples=30, deadline=None)
def test_the_dense_search_chooses_what_the_library_chooses(seed: int, budget: int, k: int) -> None:
    group = make_group(seed)
    # Equal rows have equal scores, so that order by id is tested, too.
    pool = np.concatenate([group.pool, group.pool[:10]])
    centroids = find_centroids(group.target, None, 0)
    rules = Rules(budget=budget, k=k)
    ours = select_simcore(MemoryPool(pool), centroids, rules)
    dense = run_rounds(DenseSearch(pool, centroids), len(centroids), rules)
    np.testing.assert_array_equal(dense.ids, ours.ids)
    np.testing.assert_array_equal(dense.scores, ours.scores)
    assert dense.passes == ours.passes
