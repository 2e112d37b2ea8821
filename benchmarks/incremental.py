"""What a selection costs when a pool has grown by ten shards: `python -m benchmarks.incremental [PARTS ...]`.

The search of `curator select` in one process over pools of many small parts (10,000 and 100,000 of 100 rows x 32 unless
told), 100 centroids, budget 1,000: at first, when ten parts have been added, and anew with these; each with one listing
and one reading of the done-marks. Floor: to list the parts and to read the ten.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import describe_machine
from curator.io import part_files
from curator.search import Floats
from curator.selection import Rules, find_centroids
from curator.store import DoneMark, PartStore
from curator_pipelines.executors import InProcessExecutor, usable_cpus
from curator_pipelines.jobs.select.choose_search import exact_search

ROWS, DIM = 100, 32
MORE = 10
SIZES = ("10000", "100000")


def main() -> None:
    """Print the table."""
    print(f"{describe_machine()}\n\n| parts | what | seconds | CPU s | parts read | rows the same as anew |")
    print("|---|---|---|---|---|---|")
    for size in sys.argv[1:] or SIZES:
        with tempfile.TemporaryDirectory(prefix="curator-incremental-") as folder:
            _measure(f"{folder}/run", int(size))


def _measure(run: str, parts: int) -> None:
    rng = np.random.default_rng(0)
    centroids = find_centroids(rng.standard_normal((1000, DIM)).astype(np.float32), 100, 0)
    _write(run, range(parts))
    with _line(parts, "first search") as told:
        told.append(_search(run, centroids)[1])
    _write(run, range(parts, parts + MORE))
    with _line(parts, f"{MORE} parts more") as told:
        grown, read = _search(run, centroids)
        told.append(read)
    with _line(parts, "floor: list, read the new parts") as told:
        names = os.listdir(f"{run}/pool/done")
        store = PartStore(f"{run}/pool")
        told.append(sum(1 for part in range(parts, parts + MORE) if float(np.sum(store.vectors(part))) > -np.inf))
    assert len(names) == parts + MORE
    # Of a small pool nothing was kept.
    Path(run, "kept_scan.npz").unlink(missing_ok=True)
    with _line(parts, "searched anew") as told:
        anew, read = _search(run, centroids)
        told += [read, np.array_equal(anew, grown)]


@contextmanager
def _line(parts: int, what: str) -> Iterator[list[object]]:
    told: list[object] = []
    started, cpu = time.perf_counter(), time.process_time()
    yield told
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    cells = " | ".join(f"{value:,}" if isinstance(value, int) else str(value) for value in told)
    print(f"| {parts:,} | {what} | {seconds:.1f} | {cpu:.1f} | {cells} |", flush=True)


def _write(run: str, parts: range) -> None:
    pool = PartStore(f"{run}/pool")
    os.makedirs(os.path.dirname(part_files.array_url(pool.url, 0, "0")), exist_ok=True)
    for part in parts:
        identity = f"{part:016x}"
        rows = np.random.default_rng(part).standard_normal((ROWS, DIM)).astype(np.float16)
        np.save(part_files.array_url(pool.url, part, identity), rows)
        pool.mark(part, identity, DoneMark(ROWS, ROWS, DIM, {}, []))


def _search(run: str, centroids: Floats) -> tuple[NDArray[np.int64], int]:
    told: list[Mapping[str, int]] = []
    search = exact_search(
        PartStore(f"{run}/pool").snapshot(), InProcessExecutor(usable_cpus()), told.append, lambda text: None
    )
    (found,) = search([centroids], [Rules(budget=1000)])
    # Each part that is read is told by itself, what was searched before at once.
    return found.ids, sum(increments.get("rows") == ROWS for increments in told)


if __name__ == "__main__":
    main()
