"""Storing a part by the number of its samples: peak memory of what was embedded, or refused, until the part stands.

    python -m benchmarks.embed_memory [SAMPLES] [DIM]

1,000 samples, a tenth of SAMPLES and SAMPLES, in blocks of 256 random rows as an encoder gives them; then as many
ledger lines, as a shard leaves whose images are all bad. Reading, decoding and the encoder are not in it: what they
hold does not depend on the shard, but for the keys that the reader remembers. Each measurement is a process of its own.
"""

from __future__ import annotations

import os
import sys
import tempfile

import numpy as np

from benchmarks.data import describe_machine
from benchmarks.measure import measure
from curator.errors import Reason
from curator.store import DoneMark, Ledger, PartStore
from curator.types import EmbeddingBlock, LedgerLine, Member, SampleRow

BATCH = 256
SMALL = 1000
SHARD = "s3://bucket/pool/000000.tar"


def main() -> None:
    """Print the table."""
    samples, dim = (int(word) for word in (*sys.argv[1:], *("1000000", "512")[len(sys.argv) - 1 :]))
    print(f"a part of {dim} columns; {describe_machine()}, load {os.getloadavg()[0]:.0f}\n")
    print("| samples | what | MB, peak | above 1,000 samples | bytes a sample | seconds |\n|---|---|---|---|---|---|")
    for name, function in (("embedded", _embedded), ("bad", _bad)):
        least = 0.0
        for count in (SMALL, samples // 10, samples):
            found = measure(function, count, dim)
            least = least or found.anonymous
            above = found.anonymous - least
            each = 1e6 * above / count
            print(f"| {count:,} | {name} | {found.anonymous:,.0f} | {above:,.0f} | {each:,.0f} | {found.seconds:.1f} |")


def _embedded(samples: int, dim: int) -> None:
    """A part of so many rows, with keys, hashes and two members each."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((BATCH, dim)).astype(np.float16)
    with tempfile.TemporaryDirectory() as folder, PartStore(folder).writer(0, "0" * 16, SHARD, dim) as writer:
        for first in range(0, samples, BATCH):
            rows = [_row(number) for number in range(first, min(first + BATCH, samples))]
            writer.add(EmbeddingBlock(rows, vectors[: len(rows)]))
        writer.finish(DoneMark(samples, samples, dim, {}, []))


def _bad(samples: int, dim: int) -> None:
    """A part without rows, and so many ledger lines."""
    with tempfile.TemporaryDirectory() as folder, PartStore(folder).writer(0, "0" * 16, SHARD, dim) as writer:
        ledger = Ledger(_line(number) for number in range(samples)).ordered()
        writer.finish(DoneMark(samples, 0, dim, {}, ledger))


def _row(number: int) -> SampleRow:
    members = (Member("jpg", number << 15, 30_000), Member("json", (number << 15) + 31_000, 300))
    return SampleRow(f"{number:012d}", number << 15, 30_000, f"{number:064x}", 256, 256, members, f"{~number:064x}")


def _line(number: int) -> LedgerLine:
    detail = f"cannot identify image file, {number % 97} bytes"
    return LedgerLine(SHARD, f"{number:012d}", number << 15, "decode", Reason.DECODE_ERROR, detail)


if __name__ == "__main__":
    main()
