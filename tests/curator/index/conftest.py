import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from curator.index import IndexShard, build_shard, default_lists, train


class Pool:
    def __init__(self, parts):
        self.content = list(enumerate(parts))

    def parts(self):
        return iter(self.content)


def clustered(rows, dim, seed):
    """float16 unit rows in clusters of very different sizes and widths, and unit centroids near some of them."""
    rng = np.random.default_rng(seed)
    sizes = rng.pareto(1.0, 60) + 0.1
    of = rng.choice(60, rows, p=sizes / sizes.sum())
    centres = rng.normal(size=(60, dim))
    found = centres[of] + rng.normal(size=(rows, dim)) * rng.uniform(0.2, 0.8, 60)[of, None]
    queries = centres[5:17] + 0.3 * rng.normal(size=(12, dim))
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (found, queries)]
    return unit[0].astype(np.float16), unit[1].astype(np.float32)


def indexed(folder, parts, cuts=(0, 3, 5), lists=None, rate=0.05):
    """A pool of parts, its quantiser, and shards cut at these parts."""
    pool = Pool(parts)
    rows = sum(len(part) for part in parts)
    quantiser, _ = train(pool.parts(), rows, lists or default_lists(rows), seed=0)
    shards = []
    for number, (start, end) in enumerate(itertools.pairwise(cuts)):
        build_shard(f"{folder}/{number}", pool.content[start:end], quantiser, rate)
        shards.append(IndexShard.open(f"{folder}/{number}"))
    return SimpleNamespace(pool=pool, quantiser=quantiser, shards=shards, rows=rows)


@pytest.fixture(scope="session")
def make():
    """`make.rows(rows, dim, seed)`, `make.index(folder, parts, ...)`."""
    return SimpleNamespace(rows=clustered, index=indexed)


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A pool of 6,000 rows in 5 parts, indexed in 2 shards, with 12 centroids."""
    rows, centroids = clustered(6000, 24, 0)
    # Equal rows in different parts: their order is that of their ids, whichever list or shard they are in.
    rows[5000:5040] = rows[100:140]
    index = indexed(tmp_path_factory.mktemp("index"), np.array_split(rows, 5))
    return SimpleNamespace(**vars(index), centroids=centroids)
