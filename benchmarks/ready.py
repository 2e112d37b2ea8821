"""Peak memory of the import of ready embeddings, at several sizes of one file.

    python -m benchmarks.ready [ROWS ...]

Peer: none; the bound is a constant, so what is measured is the growth from the smallest file to the largest, above what
the imported packages take. The file is fp16, 768 columns, beside metadata with a key, a URL and a caption a row, as
LAION's are: 1,000,000 rows are 1.5 GB. Each size is imported by a process of its own, on local disk.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.data import describe_machine
from curator.sources import find_sources
from curator.store import PartStore, import_part

DIM = 768
SIZES = (25_000, 100_000)
AT_A_TIME = 10_000


def write(folder: Path, rows: int) -> None:
    """One file of each kind, written a little at a time."""
    for name in ("img_emb", "metadata"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    array = np.lib.format.open_memmap(folder / "img_emb" / "img_emb_0.npy", "w+", np.float16, (rows, DIM))
    schema = pa.schema([(name, pa.string()) for name in ("image_path", "url", "caption")])
    with pq.ParquetWriter(folder / "metadata" / "metadata_0.parquet", schema) as writer:
        for start in range(0, rows, AT_A_TIME):
            numbers = range(start, min(start + AT_A_TIME, rows))
            array[start : numbers.stop] = rng.normal(size=(len(numbers), DIM))
            columns = [
                [f"{number:09d}" for number in numbers],
                [f"https://example.org/images/{number}/{rng.integers(1 << 60)}.jpg" for number in numbers],
                [f"a caption of some eighty characters that tells what image {number} shows" for number in numbers],
            ]
            writer.write_table(pa.table(columns, schema=schema))
    array.flush()


def import_alone(folder: str) -> None:
    """Import the file, and print seconds and peak memory in MB before and after."""
    (source,) = find_sources([folder], "pool", folders=False)
    before = _peak()
    started = time.perf_counter()
    import_part(source, PartStore(f"{folder}/run/pool"), 0, "0" * 16)
    seconds = time.perf_counter() - started
    print(seconds, before, _peak())


def _peak() -> float:
    """MB. Not ru_maxrss, which a process inherits from the one that started it."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1000


def main() -> None:
    """Print a table."""
    if sys.argv[1:2] == ["--import"]:
        import_alone(sys.argv[2])
        return
    print(describe_machine())
    print("| rows | file, MB | seconds | peak before, MB | peak, MB | above it, MB | of the file |")
    print("|---|---|---|---|---|---|---|")
    for rows in [int(text) for text in sys.argv[1:]] or SIZES:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), rows)
            command = [sys.executable, "-m", "benchmarks.ready", "--import", folder]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            seconds, before, peak = map(float, told.split())
            size = rows * DIM * 2 / 1e6
            print(
                f"| {rows:,} | {size:,.0f} | {seconds:.1f} | {before:.0f} | {peak:.0f} | {peak - before:.0f} | "
                f"{(peak - before) / size:.2f} x |",
                flush=True,
            )


if __name__ == "__main__":
    main()
