import numpy as np
import pytest

from curator.errors import InputError
from curator.selection.centroids import expected_centroids, find_centroids


def test_unit_rows_one_per_cluster(twin):
    rng = np.random.default_rng(0)
    middles = np.eye(4)[:3]
    rows = np.concatenate([5 * middle + 0.1 * rng.standard_normal((20, 4)) for middle in middles])
    found = find_centroids(rows.astype(np.float16), 3, seed=0)
    assert (found.shape, found.dtype) == ((3, 4), np.float32)
    assert np.linalg.norm(found.astype(np.float64), axis=1) == pytest.approx(1)
    assert sorted(found.argmax(axis=1).tolist()) == [0, 1, 2]
    assert found.max(axis=1).min() > 0.99


def test_a_centroid_is_the_mean_direction_of_unit_rows():
    # The second row is long, and counts no more than the first.
    rows = np.array([[1, 0], [0, 100]], np.float32)
    assert find_centroids(rows, 1, seed=0).tolist() == [pytest.approx([0.5**0.5, 0.5**0.5])]


def test_same_seed_same_centroids():
    rows = np.random.default_rng(1).standard_normal((200, 8)).astype(np.float16)
    first = find_centroids(rows, 10, seed=3)
    assert np.array_equal(first, find_centroids(rows, 10, seed=3))
    assert not np.array_equal(first, find_centroids(rows, 10, seed=4))


@pytest.mark.parametrize("clusters", [3, 100])
def test_few_distinct_rows_are_the_centroids(clusters):
    rows = np.array([[0, 2], [0, 1], [1, 0], [0, 1], [-3, 0], [1, 0], [0, 0]], np.float16)
    assert find_centroids(rows, clusters, seed=0).tolist() == [[0, 1], [1, 0], [-1, 0]]


def test_as_many_distinct_rows_as_clusters_need_no_k_means(twin):
    rows = twin.unit_rows(np.random.default_rng(2).standard_normal((12, 3)))
    assert find_centroids(rows, 12, seed=0) == pytest.approx(rows)


def test_a_mean_without_length_falls_back_to_the_first_member():
    rows = np.array([[0, -1], [0, 1]], np.float32)
    assert find_centroids(rows, 1, seed=0).tolist() == [[0, -1]]


def test_without_a_number_every_distinct_row_is_a_centroid_up_to_2000(twin):
    rows = twin.unit_rows(np.random.default_rng(4).standard_normal((2000, 3))).astype(np.float32)
    found = find_centroids(np.concatenate([rows, rows[:5]]), None, seed=0)
    assert found == pytest.approx(rows)
    assert expected_centroids(2000, None) == len(found)


def test_without_a_number_more_rows_become_1000_means():
    rows = np.random.default_rng(5).standard_normal((2001, 3)).astype(np.float32)
    found = find_centroids(rows, None, seed=1)
    assert found.shape == (1000, 3)
    assert expected_centroids(2001, None) == 1000
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(1000))
    assert np.array_equal(found, find_centroids(rows, None, seed=1))


@pytest.mark.parametrize(
    ("rows", "clusters", "message"),
    [
        (np.empty((0, 4), np.float16), 3, "no embedding with"),
        (np.zeros((2, 4), np.float16), 3, "no embedding with"),
        (np.full((2, 4), np.nan, np.float16), 3, "finite"),
        (np.ones(4, np.float16), 3, "shape"),
        (np.eye(4, dtype=np.float16), 0, "clusters=0"),
    ],
)
def test_bad_input(rows, clusters, message):
    with pytest.raises(InputError, match=message):
        find_centroids(rows, clusters, seed=0)
