"""Copies in `curator dedup`: CPU seconds and memory by the rows of the pool, of which every tenth is a copy.

    python -m benchmarks.dedup_copies [ROWS ...]

The hashes are made up as they are read, and vectors have two numbers, so that what is measured is finding the copies
and leaving them out block by block, and neither storage nor comparing. "of these, made up" is the benchmark's own.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.data import describe_machine
from benchmarks.measure import measure
from curator.selection import pool_dedup
from curator_pipelines.jobs.queries.dedup import find_copies

SIZES = ("10000000", "40000000", "100000000")
PART_ROWS = 1_000_000
EVERY = 10
# How many rows before a copy its original is.
BEFORE = 5
HASH_BYTES = 32


class MadeUp:
    """A pool whose metadata are hashes."""

    def __init__(self, rows: int) -> None:
        self.rows, self.seconds = rows, 0.0

    def each_metadata(self, columns: list[str]) -> Iterator[tuple[int, pa.Table]]:
        """The hashes of each part."""
        for part in range(self.rows // PART_ROWS):
            started = time.process_time()
            hashes = np.frombuffer(np.random.default_rng(part).bytes(HASH_BYTES * PART_ROWS), f"V{HASH_BYTES}").copy()
            hashes[EVERY - 1 :: EVERY] = hashes[EVERY - 1 - BEFORE :: EVERY]
            text = pa.py_buffer(hashes.tobytes().hex().encode())
            ends = pa.py_buffer(np.arange(0, (PART_ROWS + 1) * 2 * HASH_BYTES, 2 * HASH_BYTES, dtype=np.int32))
            table = pa.table({"sha256": pa.StringArray.from_buffers(PART_ROWS, ends, text)})
            self.seconds += time.process_time() - started
            yield part, table

    def parts(self) -> Iterator[tuple[int, NDArray[np.float16]]]:
        """Vectors that are all the same."""
        for part in range(self.rows // PART_ROWS):
            yield part, np.ones((PART_ROWS, 2), np.float16)


def main() -> None:
    """Print the table."""
    print(f"copies in a pool, every {EVERY}th row one; {describe_machine()}, load {os.getloadavg()[0]:.0f}\n")
    print("| rows | copies | found, CPU s | of these, made up | left out, CPU s | MB |\n|---|---|---|---|---|---|")
    for rows in sys.argv[1:] or SIZES:
        found = measure(_find, int(rows))
        copies, seconds, made_up, passed = found.result
        print(
            f"| {int(rows):,} | {copies:,} | {seconds:.0f} | {made_up:.0f} | {passed:.0f} | {found.anonymous:,.0f} |",
            flush=True,
        )


def _find(rows: int) -> tuple[int, float, float, float]:
    pool = MadeUp(rows)
    started = time.process_time()
    copies, _ = find_copies(pool, rows)  # type: ignore[arg-type]
    found = time.process_time()
    stay, _ = pool_dedup._assign(pool, np.array([[0.6, 0.8]], np.float32), copies, None)
    assert len(stay) == rows - len(copies)
    return len(copies), found - started, pool.seconds, time.process_time() - found


if __name__ == "__main__":
    main()
