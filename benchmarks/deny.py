"""`--deny` by the number of parts and of entries: CPU seconds of the join, beside sorting the keys for each part.

    python -m benchmarks.deny [PARTS] [ROWS] [ENTRIES]

Parts of ROWS keys in a shard each. Half of the entries name a shard, and they speak of 100,000 parts, of which the
first PARTS are looked at. Each measurement is a process of its own; the tables are read from disk as a worker does. The
extrapolation to 100,000 parts is arithmetic, by the slope between two numbers of parts.
"""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.data import describe_machine
from benchmarks.measure import measure
from curator.store import KEY_COLUMNS, DenyList

LARGE_PARTS = 100_000


def main() -> None:
    """Print the table."""
    parts, rows, entries = (int(word) for word in (*sys.argv[1:], *("40", "10000", "1000000")[len(sys.argv) - 1 :]))
    print(f"deny lists, parts of {rows:,} rows; {describe_machine()}, load {os.getloadavg()[0]:.0f}\n")
    print("| entries | parts | CPU s, table | CPU s, parts | denied | MB to a worker | MB, process |")
    print(f"|{'---|' * 7}")
    with tempfile.TemporaryDirectory(prefix="curator-deny-") as folder:
        for part in range(2 * parts):
            table = pa.table({"image_path": _keys(part, rows), "shard": [_shard(part)] * rows})
            pq.write_table(table, _file(folder, part), compression="zstd")
        slopes = []
        for count in (entries // 10, entries):
            for number in (parts, 2 * parts):
                found = measure(_join, folder, number, rows, count)
                build, seconds, denied, size = found.result
                slopes.append(seconds)
                sizes = f"{size / 1e6:.1f} | {found.anonymous:,.0f}"
                print(f"| {count:,} | {number} | {build:.2f} | {seconds:.2f} | {denied:,} | {sizes} |")
        once = measure(_sorting_each, folder, 2, rows, entries).result / 2
    each = (slopes[-1] - slopes[-2]) / parts
    print(f"\na part: {1e3 * each:.1f} ms; sorting the keys for each part: {once:.2f} s a part")
    minutes, hours = each * LARGE_PARTS / 60, once * LARGE_PARTS / 3600
    print(f"arithmetic for {LARGE_PARTS:,} parts: {minutes:.0f} CPU minutes; {hours:.0f} CPU hours")


def _join(folder: str, parts: int, rows: int, entries: int) -> tuple[float, float, int, int]:
    started = time.process_time()
    table = _list(rows, entries).table()
    join = pickle.dumps(table.join())
    built = time.process_time()
    look, denied = pickle.loads(join), 0
    for part in range(parts):
        denied += sum(
            len(table.denied(hits)) for hits in look(part, pq.read_table(_file(folder, part), columns=KEY_COLUMNS))
        )
    return built - started, time.process_time() - built, denied, len(join)


def _sorting_each(folder: str, parts: int, rows: int, entries: int) -> float:
    """As it was: the set of keys is sorted, and hashed by Arrow, once for each part."""
    keys = {key for shard, key in _pairs(rows, entries)}
    started = time.process_time()
    for part in range(parts):
        pc.is_in(pq.read_table(_file(folder, part))["image_path"], pa.array(sorted(keys), pa.string()))
    return time.process_time() - started


def _list(rows: int, entries: int) -> DenyList:
    everywhere, in_shard = set(), {}
    for shard, key in _pairs(rows, entries):
        if shard:
            in_shard.setdefault(shard, set()).add(key)
        else:
            everywhere.add(key)
    return DenyList(frozenset(everywhere), {shard: frozenset(keys) for shard, keys in in_shard.items()}, "")


def _pairs(rows: int, entries: int) -> list[tuple[str, str]]:
    """Every other entry names a shard; every other stands in the pool."""
    rng = np.random.default_rng(0)
    part, row = rng.integers(0, LARGE_PARTS, entries), rng.integers(0, 2 * rows, entries)
    return [
        (_shard(p) if number % 2 else "", f"{p:06d}{r:08d}")
        for number, (p, r) in enumerate(zip(part.tolist(), row.tolist(), strict=True))
    ]


def _keys(part: int, rows: int) -> list[str]:
    return [f"{part:06d}{row:08d}" for row in range(rows)]


def _shard(part: int) -> str:
    return f"s3://bucket/pool/{part:06d}.tar"


def _file(folder: str, part: int) -> str:
    return str(Path(folder, f"{part}.parquet"))


if __name__ == "__main__":
    main()
