"""The coarse quantiser: unit centroids whose nearest-neighbour cells are the lists of the index."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator.errors import InputError
from curator.search.pool import Floats, first_id
from curator.selection.random import priorities

__all__ = ["Factory", "Quantiser", "default_lists", "parse_factory", "sample_rows", "train"]

TRAIN_ROWS = 64
"""Training rows wanted for each list: faiss itself warns below 39."""
LEAST_ROWS = 39
CODEC_ROWS = 64 * 256
"""The same for the 256 words of each of a product quantiser's codebooks."""
ITERATIONS = 10
ASSIGN_ROWS = 65536


@dataclass(frozen=True, slots=True)
class Quantiser:
    """Where the lists are.

    Attributes:
        centroids: float32 (lists, d), unit rows.
    """

    centroids: NDArray[np.float32]

    def assign(self, rows: Floats) -> NDArray[np.int32]:
        """The list of each row: the centroid of the largest dot product. int32 (n,); cost 2 x n x lists x d."""
        faiss = import_faiss()
        index = faiss.IndexFlatIP(self.centroids.shape[1])
        index.add(self.centroids)
        index = _on_gpu(faiss, index)
        found = np.empty(len(rows), np.int32)
        for start in range(0, len(rows), ASSIGN_ROWS):
            block = np.ascontiguousarray(rows[start : start + ASSIGN_ROWS], np.float32)
            found[start : start + len(block)] = index.search(block, 1)[1][:, 0]
        return found


def import_faiss() -> Any:
    """The faiss module.

    Raises:
        InputError: it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise InputError(
            "the index needs faiss, which is not installed: pip install 'coreset-curator[cpu]' (or [gpu])"
        ) from error
    return faiss


def _on_gpu(faiss: Any, index: Any) -> Any:
    """The index on all GPUs where this faiss sees some, else as it is."""
    return faiss.index_cpu_to_all_gpus(index) if getattr(faiss, "get_num_gpus", int)() else index


def default_lists(rows: int) -> int:
    """How many lists a pool of this size gets: the power of two nearest to 2 sqrt(rows).

    >>> default_lists(1_000_000), default_lists(10_000)
    (2048, 256)
    """
    return 1 << max(0, round(math.log2(2 * math.sqrt(max(rows, 1)))))


class Factory(NamedTuple):
    """What an index is made of.

    Attributes:
        lists: of the quantiser.
        kind: how rows are kept: `Flat` as they are, `SQ8` or `PQm` as codes.
    """

    lists: int
    kind: str = "Flat"

    @property
    def training_rows(self) -> int:
        """How many rows its training wants."""
        return max(TRAIN_ROWS * self.lists, CODEC_ROWS if self.kind.startswith("PQ") else 0)

    def __str__(self) -> str:
        return f"IVF{self.lists},{self.kind}"


def parse_factory(text: str | None, rows: int, dim: int) -> Factory:
    """What an `index_factory` string asks for.

    Args:
        text: `IVFn,Flat`, `IVFn,SQ8` or `IVFn,PQm`, with or without faiss' `,RFlat` (codes are always refined by
            the stored rows); None for the default of a pool of `rows`.
        rows: rows of the pool.
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
            f"--factory {text}: this curator builds IVFn,Flat, IVFn,SQ8 and IVFn,PQm, such as IVF{lists},SQ8"
        )
    if int(match[1]) > rows:
        raise InputError(f"--factory {text}: more lists than the pool's {rows:,} rows; take IVF{lists},{match[2]}")
    if match[3] is None:
        return Factory(int(match[1]), match[2].partition(",")[0])
    pieces = int(match[3])
    if pieces < 1 or dim % pieces:
        fitting = max(m for m in range(1, max(1, dim // 4) + 1) if dim % m == 0)
        raise InputError(f"--factory {text}: PQm cuts {dim} dimensions into m equal pieces; PQ{fitting} would do")
    return Factory(int(match[1]), f"PQ{pieces}")


def sample_rows(parts: Iterable[tuple[int, Floats]], rows: int, wanted: int, seed: int) -> NDArray[np.float32]:
    """About `wanted` of `rows` rows, uniformly at random by a hash of seed and id; float32 unit rows (n, d)."""
    limit = np.uint64(min(2**64 - 1, int(wanted / max(rows, 1) * 2**64)))
    found = []
    for part, vectors in parts:
        ids = np.arange(len(vectors), dtype=np.int64) + first_id(part)
        some = np.asarray(vectors[priorities(ids, seed) <= limit], np.float32)
        lengths = np.linalg.norm(some, axis=1, keepdims=True)
        found.append((some / np.where(lengths > 0, lengths, 1)).astype(np.float32))
    return np.concatenate(found)


def train(sample: NDArray[np.float32], lists: int, seed: int) -> tuple[Quantiser, str]:
    """Spherical k-means over a sample of the pool.

    Args:
        sample: float32 (n, d), unit rows, from `sample_rows`.
        lists: centroids wanted.
        seed: of k-means.

    Returns:
        the quantiser, and a warning for a person if the sample is small for so many lists (else empty).
        Cost 64 x lists^2 x d x 20.

    Raises:
        InputError: faiss is missing, or the sample holds fewer rows than lists.
    """
    faiss = import_faiss()
    if len(sample) < lists:
        raise InputError(
            f"{len(sample):,} rows cannot train {lists:,} lists: "
            f"ask for fewer, such as IVF{max(1, len(sample) // LEAST_ROWS)},Flat"
        )
    warning = ""
    if len(sample) < LEAST_ROWS * lists:
        warning = (
            f"{len(sample):,} rows train {lists:,} lists; {LEAST_ROWS * lists:,} would make good ones: "
            f"IVF{max(1, len(sample) // LEAST_ROWS)},Flat would suit this pool"
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
