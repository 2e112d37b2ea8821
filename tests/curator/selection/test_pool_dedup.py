import numpy as np
import pytest

from curator.search.scoring import exact_scores
from curator.selection import pool_dedup as pool_duplicates
from curator.selection.pool_dedup import find_near_duplicates, pool_clusters


def gather_of(pool):
    rows = pool.rows()
    return lambda ids: np.array([rows[number] for number in ids.tolist()], np.float16).reshape(len(ids), 6)


def slow(pool, centroids, threshold, removed):
    """Row by row: its cluster, and the nearest of the earlier ones there that stay."""
    stays, found = {}, []
    for number, row in sorted(pool.rows().items()):
        if number in removed:
            continue
        scores = exact_scores(np.broadcast_to(row, centroids.shape), centroids)
        cluster = stays.setdefault(int(np.argmax(scores)), [])
        best = (-2.0, 0)
        for other, unit in cluster:
            similarity = float(exact_scores(row[None], unit[None])[0])
            if similarity > best[0]:
                best = similarity, other
        if best[0] >= np.float32(threshold):
            found.append((number, best[1], best[0]))
        else:
            wide = row.astype(np.float64)
            cluster.append((number, (wide / np.linalg.norm(wide)).astype(np.float32)))
    return found


@pytest.mark.parametrize("threshold", [0.6, 0.95])
@pytest.mark.parametrize("chunk", [1, 7, 2048])
def test_as_row_by_row(twin, threshold, chunk, monkeypatch):
    monkeypatch.setattr(pool_duplicates, "CHUNK_ROWS", chunk)
    rng = np.random.default_rng(5)
    base = rng.standard_normal((40, 6))
    rows = twin.unit_rows(np.concatenate([base, base + 0.1 * rng.standard_normal((40, 6)), base[:9]]), np.float16)
    pool = twin.ArrayPool(dict(zip((0, 2, 1), twin.split(rows, [30, 66]), strict=True)))
    centroids = pool_clusters(pool, 89, 5, seed=0)
    removed = np.array([3, 1 << 32], np.int64)
    found = find_near_duplicates(pool, gather_of(pool), centroids, threshold, removed)
    ours = list(zip(found.ids.tolist(), found.matches.tolist(), found.similarities.tolist(), strict=True))
    assert ours == slow(pool, centroids, threshold, set(removed.tolist()))
    assert len(ours) > 9


def test_a_pool_of_fewer_distinct_rows_than_clusters(twin):
    pool = twin.ArrayPool([np.ones((4, 6), np.float16)])
    centroids = pool_clusters(pool, 4, 3, seed=0)
    found = find_near_duplicates(pool, gather_of(pool), centroids, 0.9, np.empty(0, np.int64))
    assert (found.ids.tolist(), found.matches.tolist()) == ([1, 2, 3], [0, 0, 0])
