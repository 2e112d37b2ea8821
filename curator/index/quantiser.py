"""The coarse quantiser: unit centroids whose nearest-neighbour cells are the lists of the index."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator.errors import InputError, UnusableInput, Use
from curator.search import Floats, priorities
from curator.types import part_ids

__all__ = [
    "TRAIN_ROWS",
    "Factory",
    "Quantiser",
    "default_lists",
    "import_faiss",
    "parse_factory",
    "sample_rows",
    "train_quantiser",
    "unit_rows",
]

# Training rows for each list.
TRAIN_ROWS = 64
# With fewer training rows for each list, faiss itself warns.
LEAST_ROWS = 39
# Training rows for the 256 words of each of a product quantiser's codebooks.
CODEC_ROWS = 64 * 256
ITERATIONS = 10
# Rows that are assigned to lists at a time.
ASSIGN_ROWS = 65536


@dataclass(frozen=True, slots=True)
class Quantiser:
    """The centroids whose nearest-neighbour cells are the lists.

    Attributes:
        centroids: float32 (lists, d), unit rows.
    """

    centroids: NDArray[np.float32]

    def assign(self, rows: Floats) -> NDArray[np.int32]:
        """The list of each row: the centroid of the largest dot product; int32 (n,). Cost 2 x n x lists x d."""
        faiss = import_faiss()
        index = faiss.IndexFlatIP(self.centroids.shape[1])
        index.add(self.centroids)
        index = _on_gpu(faiss, index)
        lists = np.empty(len(rows), np.int32)
        for start in range(0, len(rows), ASSIGN_ROWS):
            block = np.ascontiguousarray(rows[start : start + ASSIGN_ROWS], np.float32)
            lists[start : start + len(block)] = index.search(block, 1)[1][:, 0]
        return lists


def import_faiss() -> Any:
    """The faiss module.

    Raises:
        UnusableInput: faiss is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise UnusableInput(
            "the index needs faiss, which is not installed",
            advice=("pip install 'coreset-curator[cpu]'", "pip install 'coreset-curator[gpu]'"),
        ) from error
    return faiss


def _on_gpu(faiss: Any, index: Any) -> Any:
    """The index on all GPUs that this faiss sees; as it is if there are none."""
    return faiss.index_cpu_to_all_gpus(index) if getattr(faiss, "get_num_gpus", int)() else index


def default_lists(rows: int) -> int:
    """The number of lists for a pool of this size: the power of two nearest to 2 sqrt(rows).

    >>> default_lists(1_000_000), default_lists(10_000)
    (2048, 256)
    """
    return 1 << max(0, round(math.log2(2 * math.sqrt(max(rows, 1)))))


class Factory(NamedTuple):
    """The kind of an index, as an `index_factory` string of faiss names it.

    Attributes:
        lists: the number of lists of the quantiser.
        kind: how rows are kept: `Flat` as they are, `SQ8` or `PQm` as codes.
    """

    lists: int
    kind: str = "Flat"

    @property
    def training_rows(self) -> int:
        """The number of rows to train it on."""
        return max(TRAIN_ROWS * self.lists, CODEC_ROWS if self.kind.startswith("PQ") else 0)

    def __str__(self) -> str:
        return f"IVF{self.lists},{self.kind}"


def parse_factory(text: str | None, rows: int, dim: int) -> Factory:
    """The kind of index that an `index_factory` string names.

    Args:
        text: `IVFn,Flat`, `IVFn,SQ8` or `IVFn,PQm`, with or without faiss' `,RFlat` (codes are always refined by
            the stored rows); None for the default of a pool of `rows`.
        rows: the number of rows of the pool.
        dim: their dimensions.

    Raises:
        InputError: another kind of index, more lists than rows, or an m that does not divide the dimensions.

    >>> parse_factory("IVF4096,PQ32", 1_000_000, 128)
    Factory(lists=4096, kind='PQ32')
    """
    lists = default_lists(rows)
    if text is None:
        return Factory(lists)
    match = re.fullmatch(r"IVF(\d+),(Flat|(?:SQ8|PQ(\d+)(?:x8)?)(?:,RFlat|,Refine\(Flat\))?)", text.replace(" ", ""))
    if not match or int(match[1]) < 1:
        raise InputError(
            "this curator builds IVFn,Flat, IVFn,SQ8 and IVFn,PQm",
            field="factory",
            value=text,
            advice=Use("factory", f"IVF{lists},SQ8"),
        )
    if int(match[1]) > rows:
        raise InputError(
            f"it has more lists than the pool has rows, which are {rows:,}",
            field="factory",
            value=text,
            advice=Use("factory", f"IVF{lists},{match[2]}"),
        )
    if match[3] is None:
        return Factory(int(match[1]), match[2].partition(",")[0])
    m = int(match[3])
    if m < 1 or dim % m:
        divisor = max(m for m in range(1, max(1, dim // 4) + 1) if dim % m == 0)
        raise InputError(
            f"PQm cuts {dim} dimensions into m equal groups",
            field="factory",
            value=text,
            advice=Use("factory", f"IVF{match[1]},PQ{divisor}"),
        )
    return Factory(int(match[1]), f"PQ{m}")


def unit_rows(rows: Floats) -> NDArray[np.float32]:
    """Rows brought to unit length, float32; rows of zeros stay zeros."""
    wide = np.asarray(rows, np.float32)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.asarray(wide / np.where(lengths > 0, lengths, 1), np.float32)


def sample_rows(parts: Iterable[tuple[int, Floats]], rows: int, size: int, seed: int) -> NDArray[np.float32]:
    """About `size` of `rows` rows, uniformly at random by a hash of seed and id; float32 unit rows (n, d)."""
    limit = np.uint64(min(2**64 - 1, int(size / max(rows, 1) * 2**64)))
    by_part = {
        part: unit_rows(vectors[priorities(part_ids(part, len(vectors)), seed) <= limit]) for part, vectors in parts
    }
    return np.concatenate([by_part[part] for part in sorted(by_part)])


def train_quantiser(sample: NDArray[np.float32], lists: int, seed: int) -> tuple[Quantiser, str]:
    """Spherical k-means over a sample of the pool.

    Args:
        sample: float32 (n, d), unit rows, from `sample_rows`.
        lists: the number of centroids.
        seed: the seed of k-means.

    Returns:
        the quantiser, and a warning for a person if the sample is small for so many lists (else empty).
        Cost 64 x lists^2 x d x 20.

    Raises:
        UnusableInput: faiss is missing, or the sample holds fewer rows than lists.
    """
    faiss = import_faiss()
    suitable = Factory(max(1, len(sample) // LEAST_ROWS))
    if len(sample) < lists:
        raise UnusableInput(f"{len(sample):,} rows cannot train {lists:,} lists", advice=Use("factory", str(suitable)))
    warning = ""
    if len(sample) < LEAST_ROWS * lists:
        warning = (
            f"{len(sample):,} rows train {lists:,} lists; {LEAST_ROWS * lists:,} would make good ones: "
            f"{suitable} would suit this pool"
        )
    means = faiss.Kmeans(
        sample.shape[1],
        lists,
        niter=ITERATIONS,
        spherical=True,
        seed=seed % 2**31,
        min_points_per_centroid=1,
        max_points_per_centroid=2 * TRAIN_ROWS,
        gpu=bool(getattr(faiss, "get_num_gpus", int)()),
    )
    means.train(sample)
    centroids = np.array(means.centroids, np.float32)
    return Quantiser(centroids / np.linalg.norm(centroids, axis=1, keepdims=True)), warning
