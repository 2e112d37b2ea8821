import numpy as np
import pytest
from hypothesis import given, strategies as st

from curator.errors import InputError
from curator.search import exact_scores
from curator.selection import find_centroids, hold_out
from curator.types import unit_rows


def photos(n, d=6, seed=0):
    """Rows about one direction, all different."""
    generator = np.random.default_rng(seed)
    return unit_rows(generator.normal(size=(n, d)) + 2)[0].astype(np.float16)


def slow_groups(rows, similarity):
    """Sets of rows: each reaches the others over rows at least that similar; None for equal rows only."""
    unit = unit_rows(rows)[0].astype(np.float32)
    groups = [{row} for row in range(len(rows))]
    for a in range(len(rows)):
        for b in range(a):
            score = exact_scores(unit[a][None], unit[b][None])[0]
            if unit[a].tobytes() == unit[b].tobytes() if similarity is None else score >= similarity:
                first, second = (next(group for group in groups if row in group) for row in (a, b))
                if first is not second:
                    groups.remove(second)
                    first |= second
    return groups


def slow_hold_out(rows):
    """Fold and h of each row, by the definition."""
    for alike in (0.9, 0.95, 0.97, 0.99, 0.995, 0.999, None):
        groups = slow_groups(rows, alike)
        if alike is None or max(map(len, groups)) <= len(rows) / 5:
            break
    folds = [[] for _ in range(5)]
    for group in sorted(groups, key=lambda group: (-len(group), min(group))):
        min(folds, key=len).extend(group)
    fold, h = np.empty(len(rows), int), np.empty(len(rows), np.float32)
    for number, left_out in enumerate(folds):
        rest = [row for row in range(len(rows)) if row not in left_out]
        centroids = find_centroids(rows[rest], None, 0)
        for row in left_out:
            fold[row] = number
            h[row] = max(exact_scores(np.tile(rows[row], (len(centroids), 1)), centroids))
    return fold, h, len(groups)


@given(st.integers(0, 2**32 - 1), st.integers(10, 40), st.integers(2, 6))
def test_folds_and_scores_are_those_of_the_definition(seed, n, d):
    rows = photos(n, d, seed)
    fold, h, groups = slow_hold_out(rows)
    held_out = hold_out(rows, None, 0)
    assert held_out.groups == groups
    assert held_out.fold.tolist() == fold.tolist()
    assert held_out.similarity.tobytes() == h.tobytes()


def test_a_photo_does_not_vouch_for_its_copies():
    rows = photos(40)
    once, twice = hold_out(rows, None, 0), hold_out(np.concatenate([rows, rows]), None, 0)
    assert twice.fold[:40].tolist() == twice.fold[40:].tolist()
    assert twice.similarity.max() < 1
    assert abs(twice.tau - once.tau) < 0.05


def test_few_photos_are_left_out_one_by_one():
    rows = np.eye(4, dtype=np.float32) + 1
    held_out = hold_out(rows, None, 0)
    assert held_out.fold.tolist() == [0, 1, 2, 3]
    # (2, 1, 1, 1) and (1, 2, 1, 1): 6 over 7.
    assert held_out.similarity == pytest.approx(6 / 7)
    assert held_out.tau == 1.0


def test_tau_is_the_tenth_percentile_over_the_median():
    held_out = hold_out(photos(60), None, 0)
    h = np.sort(held_out.similarity.astype(np.float64))
    # Of 60 values, the tenth percentile is at place 5.9 and the median at 29.5.
    assert held_out.tau == round((h[5] + 0.9 * (h[6] - h[5])) / ((h[29] + h[30]) / 2), 4)


def test_more_rows_than_take_part():
    held_out = hold_out(photos(2600, 8), None, 3)
    assert len(held_out.rows) == len(np.unique(held_out.rows)) == 2500
    assert np.bincount(held_out.fold).tolist() == [500] * 5
    assert hold_out(photos(2600, 8), None, 3).rows.tolist() == held_out.rows.tolist()
    assert hold_out(photos(2600, 8), None, 4).rows.tolist() != held_out.rows.tolist()


def test_a_number_of_clusters_stays_that_number():
    assert {len(centroids) for centroids in hold_out(photos(50), 7, 0).centroids} == {7}


def test_rows_without_direction_do_not_take_part():
    rows = photos(12)
    rows[3] = 0
    assert 3 not in hold_out(rows, None, 0).rows


@pytest.mark.parametrize("rows", [np.ones((1, 3)), np.ones((30, 3)), np.eye(2)])
def test_too_few_groups_give_no_threshold(rows):
    with pytest.raises(InputError, match="3 are needed"):
        _ = hold_out(rows.astype(np.float16), None, 0).tau


def test_images_that_have_nothing_in_common():
    with pytest.raises(InputError, match="nothing in common"):
        _ = hold_out(np.eye(20, dtype=np.float16), None, 0).tau


def test_rows_that_are_not_finite():
    with pytest.raises(InputError, match="finite"):
        hold_out(np.full((12, 3), np.nan, np.float16), None, 0)
