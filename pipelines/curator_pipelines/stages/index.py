"""The index stage: some stored parts become one index shard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from curator.index import IndexStore, ShardPlan, build_shard
from curator.parts import PartStore
from curator_pipelines.executors import Task, WorkerContext

__all__ = ["IndexStage"]


@dataclass(frozen=True)
class IndexStage:
    """Builds shards of the index at `index_url` from the parts at `store_url`."""

    index_url: str
    store_url: str
    sample_rate: float

    def open(self, context: WorkerContext) -> Callable[[Task[ShardPlan]], int]:
        """Load the quantiser once; the function builds a shard and returns its number of rows."""
        threadpool_limits(context.cpus)
        index, pool = IndexStore(self.index_url), PartStore(self.store_url)
        quantiser = index.quantiser()

        def build(task: Task[ShardPlan]) -> int:
            plan = task.payload
            parts = [(part, pool.vectors(part)) for part in sorted(plan.parts)]
            rows = build_shard(index.shard_url(plan.shard), parts, quantiser, self.sample_rate)
            index.mark(plan, rows)
            context.report({"rows": rows})
            return rows

        return build
