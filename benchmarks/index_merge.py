"""Requests that reading lists of an index costs before and after its pieces are put together.

    python -m benchmarks.index_merge [PIECES ...]

Indexes of 16, 64 and 256 pieces unless told, each of 20,000 rows x 64 in 1,024 lists; a twentieth of the lists is read,
chosen at random. A request is a range of rows or one of their ids. Floor of the merge: to copy the same files.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import describe_machine
from benchmarks.measure import measure
from curator.index import (
    IndexPiece,
    IndexStore,
    PieceTask,
    build_piece,
    merge,
    merge_lists,
    merge_tasks,
    next_merge,
    train_quantiser,
)
from curator.index.scan import blocks

ROWS, DIM, LISTS = 20_000, 64, 1024
SHARE = 20
SIZES = ("16", "64", "256")
# A hundredth of the real one, as the pieces are.
MERGED_BYTES = 3 << 20


def main() -> None:
    """Print the table."""
    print(f"{describe_machine()}\n")
    print("| pieces | requests before | after | a list, before | after | build s | merge s | copy s | MB, merge |")
    print(f"|{'---|' * 9}", flush=True)
    for size in sys.argv[1:] or SIZES:
        with tempfile.TemporaryDirectory(prefix="curator-merge-") as folder:
            url, pieces = f"{folder}/index", int(size)
            build = measure(_build, url, pieces).seconds
            before, lists = _requests(url)
            started = time.perf_counter()
            shutil.copytree(f"{url}/pieces", f"{folder}/copy")
            copy = time.perf_counter() - started
            merged = measure(_merge, url)
            after, _ = _requests(url)
            each = f"{before / lists:.1f} | {after / lists:.1f}"
            cells = f"{build:.1f} | {merged.seconds:.1f} | {copy:.1f} | {merged.anonymous:,.0f}"
            print(f"| {pieces:,} | {before:,} | {after:,} | {each} | {cells} |", flush=True)


def _build(url: str, pieces: int) -> None:
    index, rng = IndexStore(url), np.random.default_rng(0)
    quantiser, _ = train_quantiser(_rows(rng, 40 * LISTS).astype(np.float32), LISTS, 0)
    index.create(quantiser, None, "Flat", 0.01, 0)
    for number in range(pieces):
        rows = build_piece(index.piece_url(number), [(number, _rows(rng, ROWS))], quantiser, 0.01)
        index.mark(PieceTask(number, {number: "0"}, f"{number:016x}"), rows)


def _rows(rng: np.random.Generator, count: int) -> NDArray[np.float16]:
    rows = rng.standard_normal((count, DIM), np.float32)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def _merge(url: str) -> None:
    merge.PIECE_BYTES = MERGED_BYTES
    index = IndexStore(url)
    planned = next_merge(index)
    assert planned is not None
    for task in merge_tasks(index, planned):
        merge_lists(index.merged_url(task.merge, task.number), task, LISTS, None)
    index.finish_merge(planned)


def _requests(url: str) -> tuple[int, int]:
    """Requests to read some lists, and how many lists these are."""
    contents = IndexStore(url).open()
    lists = np.zeros(LISTS, bool)
    lists[np.random.default_rng(1).choice(LISTS, LISTS // SHARE, replace=False)] = True
    opened = (IndexPiece.open(piece, None) for piece in contents.with_rows_of(lists))
    return 2 * sum(len(slices) for piece in opened for slices in blocks(piece, lists)), int(lists.sum())


if __name__ == "__main__":
    main()
