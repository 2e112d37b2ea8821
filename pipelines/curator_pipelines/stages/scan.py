"""The scan stage: the best rows of some parts, for every centroid or row of a target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from curator.search import RowScan, ScanTask, TopK, scan_parts
from curator.store import PartStore
from curator_pipelines.executors import Task, WorkerContext

__all__ = ["ScanStage"]


@dataclass(frozen=True)
class ScanStage:
    """Scans parts of the store at `store_url`.

    Args:
        store_url: `OUT/pool`.
        row_scan: scores rows.
    """

    store_url: str
    row_scan: RowScan

    def open(self, context: WorkerContext) -> Callable[[Task[ScanTask]], TopK]:
        """Nothing costly: the function scans the parts of one task."""
        threadpool_limits(context.cpus)
        store = PartStore(self.store_url)

        def scan(task: Task[ScanTask]) -> TopK:
            return scan_parts(task.payload, store.vectors, self.row_scan, lambda rows: context.report({"rows": rows}))

        return scan
