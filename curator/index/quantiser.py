"""The coarse quantiser: unit centroids whose nearest-neighbour cells are the lists of the index."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.errors import InputError
from curator.selection.pool import Floats, first_id
from curator.selection.uniform import priorities

__all__ = ["Quantiser", "default_lists", "parse_factory", "sample_rows", "train"]

TRAIN_ROWS = 64
"""Training rows wanted for each list: faiss itself warns below 39."""
LEAST_ROWS = 39
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


def parse_factory(text: str | None, rows: int) -> int:
    """The number of lists that an `index_factory` string asks for.

    Args:
        text: `IVFn,Flat`, or None for the default of a pool of `rows`.
        rows: rows of the pool.

    Raises:
        InputError: another kind of index, or more lists than rows.

    >>> parse_factory("IVF4096,Flat", 1_000_000)
    4096
    """
    if text is None:
        return default_lists(rows)
    match = re.fullmatch(r"IVF(\d+),Flat", text.replace(" ", ""))
    if not match or int(match[1]) < 1:
        raise InputError(f"--factory {text}: this curator builds IVFn,Flat, such as IVF{default_lists(rows)},Flat")
    if int(match[1]) > rows:
        raise InputError(
            f"--factory {text}: more lists than the pool's {rows:,} rows; take IVF{default_lists(rows)},Flat"
        )
    return int(match[1])


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


def train(parts: Iterable[tuple[int, Floats]], rows: int, lists: int, seed: int) -> tuple[Quantiser, str]:
    """Spherical k-means over a sample of the pool.

    Args:
        parts: the pool's parts.
        rows: how many rows they have.
        lists: centroids wanted.
        seed: of the sample and of k-means.

    Returns:
        the quantiser, and a warning for a person if the sample is small for so many lists (else empty).
        Cost 64 x lists^2 x d x 20.

    Raises:
        InputError: faiss is missing, or the sample holds fewer rows than lists.
    """
    faiss = import_faiss()
    sample = sample_rows(parts, rows, TRAIN_ROWS * lists, seed)
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
