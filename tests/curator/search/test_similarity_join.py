import numpy as np
import pytest

from curator.search import similarity_join as near
from curator.search.scoring import exact_scores
from curator.search.similarity_join import SimilarityJoin, directions


def pairs_by_hand(rows, others, threshold):
    """Every pair in full dimension, by the definition of the score."""
    found = []
    for query, row in enumerate(rows):
        for member, other in enumerate(others):
            norm = np.linalg.norm(other.astype(np.float64))
            unit = (other.astype(np.float64) / (norm or 1)).astype(np.float32)
            similarity = exact_scores(row[None], unit[None])[0]
            if similarity >= np.float32(threshold):
                found.append((query, member, similarity))
    return found


def clustered(count, dim, seed, spread=0.1):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((5, dim))
    return (centres[rng.integers(0, 5, count)] + spread * rng.standard_normal((count, dim))).astype(np.float16)


@pytest.mark.parametrize("dim", [3, 64, 200])
@pytest.mark.parametrize("threshold", [0.3, 0.95, 1.0])
@pytest.mark.parametrize("dense", [1, 1 << 30])
def test_all_near_pairs_and_no_others(dim, threshold, dense, monkeypatch):
    monkeypatch.setattr(near, "DENSE", dense)
    monkeypatch.setattr(near, "BLOCK", 16)
    monkeypatch.setattr(near, "QUERIES", 7)
    rows, others = clustered(20, dim, 1), clustered(50, dim, 2)
    others[[3, 40]] = rows[[5, 5]]
    others[7] = 0
    held = SimilarityJoin(directions(clustered(30, dim, 3)))
    for start in (0, 1, 15, 30):
        held.add(others[start : {0: 1, 1: 15, 15: 30, 30: 50}[start]])
    by_hand = pairs_by_hand(rows, others, threshold)
    assert len(held) == 50
    assert np.array_equal(held.take(np.array([49, 0, 16, 17])), others[[49, 0, 16, 17]])
    for among in (None, np.arange(50) >= 16, np.arange(50) % 3 == 1, np.zeros(50, bool)):
        found = held.find(rows, threshold, among)
        wanted = [pair for pair in by_hand if among is None or among[pair[1]]]
        assert list(zip(*(column.tolist() for column in found), strict=True)) == wanted
        turned = held.find_to(rows, threshold, among)
        wanted = [pair for pair in pairs_by_hand(others, rows, threshold) if among is None or among[pair[0]]]
        assert list(zip(*(column.tolist() for column in turned), strict=True)) == wanted
    # What looks like rounding is not lost at the very top.
    assert threshold == 1.0 or {(5, 3), (5, 40)} <= {pair[:2] for pair in by_hand}


def test_nothing_held_or_asked():
    held = SimilarityJoin(directions(clustered(5, 8, 0)))
    assert len(held.find(clustered(3, 8, 1), 0.5).query) == 0
    held.add(clustered(2, 8, 1))
    assert len(held.find(clustered(3, 8, 1)[:0], 0.5).query) == 0


def test_the_bound_keeps_most_pairs_from_full_scores(monkeypatch):
    scored = []
    exact = near.exact_pairs

    def counting(rows, norms, units, row_of, centroid_of):
        scored.append(len(row_of))
        return exact(rows, norms, units, row_of, centroid_of)

    monkeypatch.setattr(near, "exact_pairs", counting)
    rows = clustered(400, 256, 4, spread=0.5)
    held = SimilarityJoin(directions(rows))
    held.add(rows)
    found = held.find(rows, 0.95)
    assert found.query.tolist() == found.member.tolist() == list(range(400))
    assert sum(scored) < 0.05 * 400 * 400
