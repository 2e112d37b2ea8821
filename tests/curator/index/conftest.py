import functools
import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from curator.index import (
    Contents,
    Factory,
    IndexPiece,
    build_piece,
    default_lists,
    sample_rows,
    train_codec,
    train_quantiser,
)


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


def read_rows(ids, parts):
    """The rows of some ids."""
    return np.stack([parts[row >> 32][row & 0xFFFFFFFF] for row in ids.tolist()])


def indexed(folder, parts, cuts=(0, 3, 5), lists=None, rate=0.05, kind="Flat"):
    """A pool of parts, its quantiser, and pieces cut at these parts; `refined` counts the rows read by id."""
    pool = Pool(parts)
    rows = sum(len(part) for part in parts)
    factory = Factory(lists or default_lists(rows), kind)
    sample = sample_rows(pool.parts(), rows, factory.training_rows, seed=0)
    quantiser, _ = train_quantiser(sample, factory.lists, seed=0)
    codec = None if kind == "Flat" else train_codec(kind, sample, quantiser)
    pieces = []
    for number, (start, end) in enumerate(itertools.pairwise(cuts)):
        build_piece(f"{folder}/{number}", pool.content[start:end], quantiser, rate, codec)
        pieces.append(IndexPiece.open(f"{folder}/{number}", codec))
    contents = Contents.read(quantiser, codec, [piece.url for piece in pieces])
    made = SimpleNamespace(pool=pool, quantiser=quantiser, contents=contents, pieces=pieces, rows=rows, refined=0)

    def counted(ids):
        made.refined += len(ids)
        return read_rows(ids, parts)

    made.read_rows = counted
    return made


@pytest.fixture(scope="session")
def make():
    """`make.rows(rows, dim, seed)`, `make.index(folder, parts, ...)`."""
    return SimpleNamespace(rows=clustered, index=indexed)


@pytest.fixture(scope="session")
def by_kind(tmp_path_factory):
    """A pool of 6,000 rows in 5 parts with 12 centroids; `by_kind(kind)` is its index of 2 pieces."""
    rows, centroids = clustered(6000, 24, 0)
    # Equal rows in different parts: their order is that of their ids, whichever list or piece they are in.
    rows[5000:5040] = rows[100:140]

    @functools.cache
    def build(kind):
        index = indexed(tmp_path_factory.mktemp(kind), np.array_split(rows, 5), kind=kind)
        index.centroids = centroids
        return index

    return build


@pytest.fixture(scope="session")
def made(by_kind):
    """The index that keeps rows as they are."""
    return by_kind("Flat")
