"""The rows on which recall is measured: with many centroids fewer of them, so that their scores have room."""

import numpy as np

from curator.index import recall
from curator.index.recall import Sample


def test_scores_stay_within_their_room(made, monkeypatch):
    whole = Sample(made.contents.sample(), made.centroids)
    monkeypatch.setattr(recall, "MOST_SCORES", whole.scores.size // 3)

    thinned = Sample(made.contents.sample(), made.centroids)

    assert whole.scores.size // 6 < thinned.scores.size <= whole.scores.size // 3
    np.testing.assert_array_equal(thinned.given, whole.lists)
    # What is left are rows of the whole, in the same halves. The last bit of a product depends on how many it is of.
    apart = np.abs(whole.scores[:, None] - thinned.scores[:, :, None]).max(axis=0)
    places = [np.flatnonzero(row < 1e-6) for row in apart]
    assert all(len(place) for place in places)
    first = np.array([place[0] for place in places])
    np.testing.assert_array_equal(whole.lists[first], thinned.lists)
    np.testing.assert_array_equal(whole._calibrates[first], thinned._calibrates)
    assert 0.3 < thinned._calibrates.mean() < 0.7
