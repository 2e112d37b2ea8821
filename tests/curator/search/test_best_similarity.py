import numpy as np
import pytest
from hypothesis import given, strategies as st

from curator.errors import CuratorError, InputError
from curator.search import best_similarity, exact_scores, nearest


def slow_nearest(rows, centroids):
    every = np.stack([exact_scores(rows, np.tile(centroid, (len(rows), 1))) for centroid in centroids])
    return every.max(axis=0), every.argmax(axis=0)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 12), st.integers(1, 9), st.sampled_from("eE"))
def test_the_nearest_centroid_is_that_of_all_exact_scores(seed, n, k, d, kind):
    generator = np.random.default_rng(seed)
    # Few distinct values: many equal scores.
    rows = generator.integers(-2, 3, (n, d)).astype(np.float16 if kind == "e" else np.float32)
    centroids = generator.integers(-2, 3, (k, d)).astype(np.float32)
    scores, places = nearest(rows, centroids)
    expected_scores, expected_places = slow_nearest(rows, centroids)
    assert scores.tobytes() == expected_scores.tobytes()
    assert places.tolist() == expected_places.tolist()


def test_more_rows_than_a_block():
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(40_000, 3)).astype(np.float16)
    centroids = generator.normal(size=(200, 3)).astype(np.float32)
    scores = best_similarity(rows, centroids)
    assert scores[39_000:].tobytes() == slow_nearest(rows[39_000:], centroids)[0].tobytes()


def test_no_rows():
    assert len(best_similarity(np.empty((0, 3), np.float16), np.ones((2, 3), np.float32))) == 0


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError):
        best_similarity(np.ones((2, 3), np.float32), np.ones((2, 4), np.float32))
    with pytest.raises(CuratorError, match="NaN"):
        best_similarity(np.full((1, 3), np.nan, np.float32), np.ones((2, 3), np.float32))
