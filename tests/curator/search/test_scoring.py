import numpy as np
import pytest

from curator.search.scoring import MARGIN, exact_pairs, exact_scores, margin, propose, row_norms


def every_pair(rows, centroids):
    row_of, centroid_of = (index.ravel() for index in np.indices((len(rows), len(centroids))))
    return exact_pairs(rows, row_norms(rows), centroids, row_of, centroid_of), row_of, centroid_of


def test_score_is_the_cosine_for_a_unit_centroid():
    rows = np.array([[3, 4], [3, 4], [-2, 0]], np.float16)
    centroids = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
    assert exact_scores(rows, centroids).tolist() == np.float32([0.6, 0.8, -1]).tolist()


def test_a_row_of_zero_length_scores_zero():
    assert exact_scores(np.zeros((1, 2), np.float16), np.ones((1, 2), np.float32)).tolist() == [0.0]


def test_no_rows_no_scores():
    assert exact_scores(np.empty((0, 4), np.float16), np.empty((0, 4), np.float32)).shape == (0,)


def test_dimensions_are_added_in_index_order():
    big = 2.0**60
    rows = np.array([[big, 1, -big], [big, -big, 1]], np.float32)
    ones = np.ones((2, 3), np.float32)
    first, second = exact_scores(rows, ones)
    assert first == 0
    assert second > 0


def test_dimensions_are_not_added_in_groups():
    # Sums in groups of eight, as np.sum makes them, add two of the ones to 2^60, where they are lost.
    row = np.array([[2.0**60, -(2.0**60)] + [1] * 14], np.float32)
    assert exact_scores(row, np.ones((1, 16), np.float32)).tolist() == [np.float32(14 / 2**60.5)]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_equals_a_plain_loop(twin, dtype):
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((2100, 5)).astype(dtype)
    centroids = rng.standard_normal((2100, 5)).astype(np.float32)
    expected = [twin.score(row, c) for row, c in zip(rows, centroids, strict=True)]
    assert exact_scores(rows, centroids).tolist() == np.array(expected).tolist()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_pairs_equal_the_definition(dtype):
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((300, 96)).astype(dtype)
    rows[7] = 0
    centroids = rng.standard_normal((9, 96)).astype(np.float32)
    scores, row_of, centroid_of = every_pair(rows, centroids)
    assert scores.tolist() == exact_scores(rows[row_of], centroids[centroid_of]).tolist()


def test_pairs_where_the_order_of_the_sum_decides():
    big = 2.0**60
    rows = np.array([[big, 1, -big], [big, -big, 1], [1, big, -big]], np.float32)
    scores, row_of, _ = every_pair(rows, np.ones((1, 3), np.float32))
    assert scores.tolist() == exact_scores(rows[row_of], np.ones((3, 3), np.float32)).tolist()


def test_pairs_halfway_between_two_float32():
    rows = np.ones((1, 4), np.float16)
    tiny = 2.0**-24
    centroids = np.array([[1, tiny, 0, 0], [1, 3 * tiny, 0, 0], [1, tiny, 2.0**-50, 0]], np.float32)
    scores, _, _ = every_pair(rows, centroids)
    # Halfway goes to the even neighbour: down, up; a trace above halfway goes up.
    assert scores.tolist() == [0.5, 0.5 + 4 * 2.0**-25, 0.5 + 2.0**-24]


@pytest.mark.parametrize(("dim", "dtype"), [(2, np.float16), (128, np.float16), (1024, np.float32)])
def test_proposed_scores_are_within_the_margin(twin, dim, dtype):
    rng = np.random.default_rng(2)
    rows = (rng.standard_normal((500, dim)) * 7).astype(dtype)
    centroids = twin.unit_rows(rng.standard_normal((20, dim)))
    wide = rows.astype(np.float32)
    proposed = propose(wide, row_norms(wide), centroids)
    scores, row_of, centroid_of = every_pair(rows, centroids)
    assert proposed.shape == (20, 500)
    assert np.abs(proposed[centroid_of, row_of] - scores).max() <= margin(centroids)


@pytest.mark.parametrize("size", [1e-36, 1e36])
@pytest.mark.parametrize("dim", [2, 3])
def test_proposals_survive_extreme_lengths(size, dim):
    rows = np.array([[3, 4, 0][:dim]], np.float32) * np.float32(size)
    assert propose(rows, row_norms(rows), np.eye(2, dim, dtype=np.float32)).ravel() == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize("dim", [1, 3, 100_000])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_lengths_of_rows_in_steps(dim, dtype):
    rows = np.random.default_rng(0).standard_normal((7, dim)).astype(dtype)
    rows[2] = 0
    rows[5, dim // 2] = -np.inf
    assert row_norms(rows) == pytest.approx(np.linalg.norm(rows.astype(np.float64), axis=1), rel=1e-12)
    assert row_norms(rows[:0]).shape == (0,)


def test_a_zero_row_is_proposed_with_zero():
    rows = np.zeros((1, 3), np.float32)
    assert propose(rows, row_norms(rows), np.eye(3, dtype=np.float32)).tolist() == [[0], [0], [0]]


def test_margin_grows_with_dimensions_and_centroid_length(twin):
    assert margin(twin.unit_rows(np.ones((1, 16)))) == pytest.approx(MARGIN)
    assert margin(twin.unit_rows(np.ones((1, 4096)))) > 40 * MARGIN
    assert margin(np.full((1, 4), 5, np.float32)) == pytest.approx(10 * MARGIN)
