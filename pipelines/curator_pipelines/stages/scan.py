"""The scan stage: the best rows of some parts, for every centroid or row of a target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from curator.search import RowScan, Scanned, ScanTask, scan_parts
from curator.store import NamedParts
from curator_pipelines.executors import Task, WorkerContext

__all__ = ["ScanStage"]


@dataclass(frozen=True)
class ScanStage:
    """Scans parts of a store.

    Args:
        pool: the parts of `OUT/pool`.
        row_scan: scores rows.
        queries: sets of queries, float32 (m, d) each, that a task may ask for.
    """

    pool: NamedParts
    row_scan: RowScan
    queries: tuple[NDArray[np.float32], ...] = ()

    def open(self, context: WorkerContext) -> Callable[[Task[ScanTask]], Scanned]:
        """Nothing costly: the function scans the parts of one task."""

        def scan(task: Task[ScanTask]) -> Scanned:
            # No longer than that: it may be the driver who scans.
            with threadpool_limits(context.cpus):
                return scan_parts(
                    task.payload,
                    self.pool.vectors,
                    self.row_scan,
                    lambda rows: context.report({"rows": rows}),
                    self.queries,
                )

        return scan
