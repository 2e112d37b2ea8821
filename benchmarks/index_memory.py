"""What the driver of a selection over an index needs, whatever the number of its pieces.

    python -m benchmarks.index_memory [LISTS DIM]

An index of many lists, whose pieces are copies of one: what is read of them to decide which lists to read is the same
work as for a real pool of so many pieces. "sums" is what the driver would hold if each piece told the sum of each
list's rows, as arithmetic.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.data import describe_machine
from benchmarks.measure import measure
from curator.index import Contents, build_piece
from curator.index.quantiser import Quantiser
from curator.index.recall import Sample

PIECES = (16, 64, 256, 1024)
ROWS, CLUSTERS, RATE = 5_000, 100, 0.01


def main() -> None:
    """Print the table."""
    lists, dim = map(int, sys.argv[1:] or (16_384, 128))
    print(f"{lists:,} lists x {dim}, pieces of {ROWS:,} rows; {describe_machine()}\n")
    print("| pieces | seconds | MB of its own | above the fewest | sums, MB |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="curator-index-") as name:
        folder = Path(name)
        measure(make_piece, folder, lists, dim)
        fewest = None
        for pieces in PIECES:
            for number in range(pieces):
                if not (folder / f"{number}").exists():
                    shutil.copytree(folder / "0", folder / f"{number}", copy_function=shutil.copyfile)
            cost = measure(open_index, folder, pieces)
            fewest = fewest or cost.anonymous
            columns = (cost.anonymous, cost.anonymous - fewest, pieces * lists * dim * 4 / 1e6)
            print(f"| {pieces:,} | {cost.seconds:.1f} | " + " | ".join(f"{value:,.0f}" for value in columns) + " |")


def make_piece(folder: Path, lists: int, dim: int) -> None:
    """The one piece, and the quantiser beside it."""
    chance = np.random.default_rng(0)
    centres, rows = (chance.standard_normal((count, dim), np.float32) for count in (lists, ROWS))
    centres, rows = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (centres, rows))
    np.save(folder / "quantiser.npy", centres)
    build_piece(str(folder / "0"), [(0, rows.astype(np.float16))], Quantiser(centres), RATE)


def open_index(folder: Path, pieces: int) -> None:
    """What a selection does before it reads the first list."""
    quantiser = Quantiser(np.load(folder / "quantiser.npy"))
    contents = Contents.read(quantiser, None, [str(folder / f"{number}") for number in range(pieces)])
    Sample(contents.sample(), quantiser.centroids[:CLUSTERS])


if __name__ == "__main__":
    main()
