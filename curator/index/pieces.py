"""A piece of the index: the rows of consecutive parts, grouped by list; or, of a merge, all rows of consecutive lists.

PIECE/rows.npy       float16 (n, d), by list, then id; or, where the index has a codec,
PIECE/codes.npy      uint8 (n, code_bytes), the codes of the rows in that order
PIECE/ids.npy        int64 (n,)
PIECE/offsets.npy    int64 (lists + 1,): list i is rows[offsets[i]:offsets[i + 1]]
PIECE/lists.npz      sizes int32, cosines float32, nearest float32, of each list: see `curator.index.contents`
PIECE/sample.npz     rows, lists: the piece's share of the rows on which recall is measured

A piece of a merge has the first three; the last two stay where they were built (`curator.index.merge`).

A piece has little for each list, since there are many of both: sums of a list's rows would take as much as the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.index.codec import Codec
from curator.index.quantiser import Quantiser
from curator.io import npy, storage
from curator.search import Floats, check_finite, priorities, row_norms
from curator.types import join_id, part_ids

__all__ = ["LISTS", "OFFSETS", "SAMPLE", "IndexPiece", "build_piece", "row_files", "stored_name", "write_rows"]

OFFSETS, LISTS, SAMPLE = "offsets.npy", "lists.npz", "sample.npz"

SAMPLE_SEED = 0x5EED
# Rows that are held as float32 at a time.
BLOCK_ROWS = 16384


@dataclass(frozen=True, slots=True)
class IndexPiece:
    """One piece, opened to read rows of it.

    Attributes:
        url: the URL of its folder.
        stored: float16 (n, d) rows, or uint8 codes; a memory map where it is local, else read by ranges when sliced.
        ids: int64 (n,), the ids of these rows, likewise.
        codec: the codec of the codes; None where the rows themselves are stored.
        offsets: int64 (lists + 1,): list i is stored[offsets[i]:offsets[i + 1]].
    """

    url: str
    stored: NDArray[Any]
    ids: NDArray[np.int64]
    codec: Codec | None
    offsets: NDArray[np.int64]

    @classmethod
    def open(cls, url: str, codec: Codec | None) -> IndexPiece:
        """Open a finished piece of an index with this codec. Rows are read when they are sliced."""
        stored, ids = (npy.open_rows(storage.join(url, name)) for name in (stored_name(codec), "ids.npy"))
        return cls(url, stored, ids, codec, npy.read_array(storage.join(url, OFFSETS)))

    @property
    def list_sizes(self) -> NDArray[np.int64]:
        """The number of rows in each list, int64 (lists,)."""
        return np.diff(self.offsets)


def build_piece(
    url: str, parts: Sequence[tuple[int, Floats]], quantiser: Quantiser, rate: float, codec: Codec | None = None
) -> int:
    """Write a piece with the rows of these parts, each of its files whole. Returns the number of rows.

    Args:
        url: the URL of the piece's folder.
        parts: part numbers with float16 or float32 rows, in order of number.
        quantiser: assigns rows to lists.
        rate: the share of the rows that is put aside, as copies, to measure recall on.
        codec: codes the rows; None to store them as they are.

    Raises:
        CuratorError: a row is not finite.
    """
    ids = np.concatenate([part_ids(part, len(rows)) for part, rows in parts])
    list_of = np.concatenate([quantiser.assign(rows) for _, rows in parts])
    cosines, nearest = _describe_lists(parts, list_of, quantiser)
    order = np.argsort(list_of, kind="stable")
    sizes = np.bincount(list_of, minlength=len(quantiser.centroids))
    sampled = np.flatnonzero(priorities(ids[order], SAMPLE_SEED) < np.uint64(rate * (2**64 - 1025)))
    stored, sample = _arrange(parts, list_of, order, sampled, codec)
    write_rows(url, stored, ids[order], sizes, codec)
    _write_arrays(storage.join(url, LISTS), sizes=sizes.astype(np.int32), cosines=cosines, nearest=nearest)
    _write_arrays(storage.join(url, SAMPLE), rows=sample, lists=list_of[order][sampled])
    return len(ids)


def write_rows(
    url: str, stored: NDArray[Any], ids: NDArray[np.int64], sizes: NDArray[np.int64], codec: Codec | None
) -> None:
    """Write what is read of a piece's rows: they, or their codes, and their ids, both by list, and each list's size."""
    npy.write_array(storage.join(url, stored_name(codec)), stored)
    npy.write_array(storage.join(url, "ids.npy"), ids)
    npy.write_array(storage.join(url, OFFSETS), np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))


def row_files(url: str, has_codec: bool) -> list[str]:
    """The files of a piece that hold its rows, without what it tells of its lists and its sample."""
    return [storage.join(url, name) for name in (OFFSETS, "ids.npy", "codes.npy" if has_codec else "rows.npy")]


def stored_name(codec: Codec | None) -> str:
    """The name of the file with rows or codes."""
    return "codes.npy" if codec else "rows.npy"


def _blocks(parts: Sequence[tuple[int, Floats]]) -> Iterator[tuple[int, slice, Floats]]:
    """The rows of the parts in blocks: the first id, the places of the block among all rows, and its rows."""
    start = 0
    for part, rows in parts:
        for row in range(0, len(rows), BLOCK_ROWS):
            block = rows[row : row + BLOCK_ROWS]
            yield join_id(part, row), slice(start, start + len(block)), block
            start += len(block)


def _describe_lists(
    parts: Sequence[tuple[int, Floats]], list_of: NDArray[np.int32], quantiser: Quantiser
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The sum of the cosines of each list's rows and its centroid, and the least of them."""
    sums = np.zeros(len(quantiser.centroids))
    nearest = np.ones(len(sums), np.float32)
    for first_id, places, rows in _blocks(parts):
        block = np.asarray(rows, np.float32)
        norms = row_norms(block)
        check_finite(first_id, norms)
        unit = np.asarray(block / np.where(norms > 0, norms, 1)[:, None].astype(np.float32), np.float32)
        lists = list_of[places]
        cosines = np.vecdot(unit, quantiser.centroids[lists])
        np.minimum.at(nearest, lists, cosines)
        sums += np.bincount(lists, cosines, len(sums))
    return sums.astype(np.float32), nearest


def _arrange(
    parts: Sequence[tuple[int, Floats]],
    list_of: NDArray[np.int32],
    order: NDArray[np.int64],
    sampled: NDArray[np.int64],
    codec: Codec | None,
) -> tuple[NDArray[Any], NDArray[np.float16]]:
    """What is stored of all rows, by list, and the rows of the sample.

    Args:
        parts: see `build_piece`.
        list_of: int32 (n,), the list of each row.
        order: int64 (n,), the rows by list.
        sampled: int64 (m,), ascending, the places in that order of the sampled rows.
        codec: see `build_piece`.
    """
    dim = parts[0][1].shape[1]
    stored = np.empty((len(order), codec.code_bytes), np.uint8) if codec else np.empty((len(order), dim), np.float16)
    sample = np.empty((len(sampled), dim), np.float16)
    place_of = np.empty_like(order)
    place_of[order] = np.arange(len(order))
    # Block by block, so that no second copy of the rows is held.
    for _, rows_of_block, block in _blocks(parts):
        places = place_of[rows_of_block]
        stored[places] = codec.encode(block, list_of[rows_of_block]) if codec else block
        sample_of = np.searchsorted(sampled, places)
        is_sampled = np.isin(places, sampled)
        sample[sample_of[is_sampled]] = block[is_sampled]
    return stored, sample


def _write_arrays(url: str, **arrays: NDArray[Any]) -> None:
    with storage.write_file(url) as path, open(path, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
