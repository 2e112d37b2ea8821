import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from curator.search import top_k as queues
from curator.search.top_k import NO_ROW, TopK, merge, top_k_of_pairs


def build(lists, k, eligible=None):
    """The top-k made of [[(score, id), ...] per centroid]."""
    flat = [(k, score, number) for k, line in enumerate(lists) for score, number in line]
    columns = np.array(flat, np.float64).reshape(-1, 3)
    if eligible is None:
        eligible = [len(line) for line in lists]
    return top_k_of_pairs(
        columns[:, 0].astype(np.int64),
        columns[:, 1].astype(np.float32),
        columns[:, 2].astype(np.int64),
        np.array(eligible, np.int64),
        max(eligible, default=0),
        k,
    )


def lists_of(found):
    return [
        list(zip(found.scores[k, :count].tolist(), found.ids[k, :count].tolist(), strict=True))
        for k, count in enumerate(found.counts)
    ]


def same(a, b):
    columns = ["scores", "ids", "counts", "eligible"]
    assert all(getattr(a, name).tolist() == getattr(b, name).tolist() for name in columns)
    assert (a.rows, a.k) == (b.rows, b.k)


def test_best_first_and_equal_scores_by_id():
    found = build([[(0.5, 9), (0.75, 4), (0.5, 3)], [], [(0.25, 1)]], k=5)
    assert lists_of(found) == [[(0.75, 4), (0.5, 3), (0.5, 9)], [], [(0.25, 1)]]
    assert found.scores[1].tolist() == [-np.inf] * 3
    assert found.ids[1].tolist() == [NO_ROW] * 3


def test_depth_cuts_among_equal_scores():
    found = build([[(0.5, number) for number in (7, 3, 5, 1)]], k=2)
    assert lists_of(found) == [[(0.5, 1), (0.5, 3)]]
    assert found.complete.tolist() == [False]


def test_complete_where_nothing_lies_behind():
    found = build([[(0.5, 1), (0.25, 2)], [(0.5, 1)]], k=2, eligible=[2, 2])
    assert found.complete.tolist() == [True, False]
    assert merge(found, build([[(0.1, 3)], []], k=2)).complete.tolist() == [False, False]


def test_floor_only_of_full_queues():
    assert build([[(0.5, 1)], [(0.5, 1), (0.25, 2)]], k=2).lower_bound.tolist() == [-np.inf, 0.25]
    assert build([[(0.5, 1)]], k=2).lower_bound.tolist() == [-np.inf]


def test_merge_of_nothing():
    none = TopK.empty(3, 4)
    same(merge(none, none), none)
    assert none.complete.tolist() == [True, True, True]


def test_merge_leaves_its_parts_alone():
    first, second = build([[(0.5, 1)]], k=1), build([[(0.75, 2)]], k=1)
    assert lists_of(merge(first, second)) == [[(0.75, 2)]]
    assert lists_of(first) == [[(0.5, 1)]]


@pytest.mark.parametrize("entries", [1, 7, 1 << 21])
def test_merge_in_pieces_is_the_same(monkeypatch, entries):
    rng = np.random.default_rng(0)
    parts = [
        build([[(s / 8, part * 100 + i) for i, s in enumerate(rng.integers(0, 9, 6))] for _ in range(5)], 9)
        for part in range(3)
    ]
    whole = merge(*parts)
    monkeypatch.setattr(queues, "MERGE_ENTRIES", entries)
    same(merge(*parts), whole)


scores = st.sampled_from([-0.5, 0.0, 0.25, 0.5])


@given(st.lists(st.lists(scores, max_size=6), min_size=1, max_size=5), st.integers(1, 8), st.randoms())
@settings(max_examples=100)
def test_any_tree_of_merges_is_a_sort(blocks, k, random):
    parts = [build([[(score, part * 10 + i) for i, score in enumerate(block)]], k) for part, block in enumerate(blocks)]
    every = [(s, part * 10 + i) for part, block in enumerate(blocks) for i, s in enumerate(block)]
    while len(parts) > 1:
        random.shuffle(parts)
        parts.append(merge(parts.pop(), parts.pop()))
    assert lists_of(parts[0]) == [sorted(every, key=lambda pair: (-pair[0], pair[1]))[:k]]
    assert parts[0].eligible.tolist() == [len(every)]
