"""An index shard: the rows of some parts, grouped by list.

SHARD/rows.npy       float16 (n, d), by list, then id; or, where the index has a codec,
SHARD/codes.npy      uint8 (n, code_bytes), of the rows in that order
SHARD/ids.npy        int64 (n,)
SHARD/lists.npz      offsets int64 (lists + 1,), sums float32 (lists, d), nearest float32 (lists,)
SHARD/sample.npz     rows, lists: the shard's share of the rows on which recall is measured
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.index.codec import Codec
from curator.index.quantiser import Quantiser
from curator.io import npy, storage
from curator.search.exact_scores import row_norms
from curator.search.pool import Floats, check_finite, first_id
from curator.selection.random import priorities

__all__ = ["IndexPiece", "build_shard"]

SAMPLE_SEED = 0x5EED
STEP = 16384


@dataclass(frozen=True, slots=True)
class IndexPiece:
    """One shard, opened.

    Attributes:
        url: of its folder.
        stored: float16 (n, d) rows, or uint8 codes; a memory map where it is local, else read by ranges when sliced.
        ids: int64 (n,), likewise.
        codec: of the codes; None where the rows themselves are stored.
        offsets: int64 (lists + 1,): list i is stored[offsets[i]:offsets[i + 1]].
        sums: float32 (lists, d), sums of each list's unit rows.
        nearest: float32 (lists,), the least cosine of a list's rows and its centroid; 1 for an empty list.
        sample: float16 (m, d), random rows of this shard.
        sample_lists: int32 (m,), the lists they are in.
    """

    url: str
    stored: NDArray[Any]
    ids: NDArray[np.int64]
    codec: Codec | None
    offsets: NDArray[np.int64]
    sums: NDArray[np.float32]
    nearest: NDArray[np.float32]
    sample: Floats
    sample_lists: NDArray[np.int32]

    @classmethod
    def open(cls, url: str, codec: Codec | None) -> IndexPiece:
        """Open a finished shard of an index with this codec. Rows are read when they are asked for."""
        with np.load(io.BytesIO(storage.read_bytes(storage.join(url, "lists.npz")))) as lists:
            offsets, sums, nearest = lists["offsets"], lists["sums"], lists["nearest"]
        with np.load(io.BytesIO(storage.read_bytes(storage.join(url, "sample.npz")))) as sample:
            rows, of = sample["rows"], sample["lists"]
        stored, ids = (npy.open_rows(storage.join(url, name)) for name in (_stored_name(codec), "ids.npy"))
        return cls(url, stored, ids, codec, offsets, sums, nearest, rows, of)


def _stored_name(codec: Codec | None) -> str:
    return "codes.npy" if codec else "rows.npy"


def build_shard(
    url: str, parts: Sequence[tuple[int, Floats]], quantiser: Quantiser, rate: float, codec: Codec | None = None
) -> int:
    """Write a shard of these parts' rows; each file of it whole. Returns the number of rows.

    Args:
        url: the shard's folder.
        parts: part numbers with float16 or float32 rows, in order of number.
        quantiser: assigns rows to lists.
        rate: share of the rows put aside, as copies, to measure recall on.
        codec: codes the rows; None to store them as they are.

    Raises:
        CuratorError: a row is not finite.
    """
    lists, dim = quantiser.centroids.shape
    ids = np.concatenate([np.arange(len(rows), dtype=np.int64) + first_id(part) for part, rows in parts])
    of = np.concatenate([quantiser.assign(rows) for _, rows in parts])
    sums = np.zeros((lists, dim), np.float32)
    nearest = np.ones(lists, np.float32)
    at = 0
    for part, rows in parts:
        for start in range(0, len(rows), STEP):
            block = np.asarray(rows[start : start + STEP], np.float32)
            norms = row_norms(block)
            check_finite(first_id(part) + start, norms)
            block /= np.where(norms > 0, norms, 1)[:, None].astype(np.float32)
            mine = of[at : at + len(block)]
            np.minimum.at(nearest, mine, np.vecdot(block, quantiser.centroids[mine]))
            _add_by_list(sums, mine, block)
            at += len(block)
    order = np.argsort(of, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(of, minlength=lists))])
    chosen = np.flatnonzero(priorities(ids[order], SAMPLE_SEED) < np.uint64(rate * (2**64 - 1025)))
    stored = np.empty((len(ids), codec.code_bytes), np.uint8) if codec else np.empty((len(ids), dim), np.float16)
    sample = np.empty((len(chosen), dim), np.float16)
    # Part by part, so that no second copy of the shard is held.
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    at = 0
    for _, rows in parts:
        for start in range(0, len(rows), STEP):
            block = rows[start : start + STEP]
            here = place[at : at + len(block)]
            stored[here] = codec.encode(block, of[at : at + len(block)]) if codec else block
            spot = np.searchsorted(chosen, here)
            is_sampled = spot < len(chosen)
            is_sampled[is_sampled] = chosen[spot[is_sampled]] == here[is_sampled]
            sample[spot[is_sampled]] = block[is_sampled]
            at += len(block)
    npy.write_array(storage.join(url, _stored_name(codec)), stored)
    npy.write_array(storage.join(url, "ids.npy"), ids[order])
    _write_all(url, "lists.npz", offsets=offsets.astype(np.int64), sums=sums, nearest=nearest)
    _write_all(url, "sample.npz", rows=sample, lists=of[order][chosen])
    return len(ids)


def _add_by_list(sums: NDArray[np.float32], of: NDArray[np.int32], block: NDArray[np.float32]) -> None:
    if not len(of):
        return
    order = np.argsort(of, kind="stable")
    starts = np.flatnonzero(np.diff(of[order], prepend=-1))
    sums[of[order][starts]] += np.add.reduceat(block[order], starts, axis=0)


def _write_all(url: str, name: str, **arrays: NDArray[Any]) -> None:
    with storage.write_file(storage.join(url, name)) as path, open(path, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
