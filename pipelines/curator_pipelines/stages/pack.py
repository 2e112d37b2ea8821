"""The pack stage: one output shard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from curator.packing import OutputShard, PackedShard, pack_shard
from curator.store import NamedParts
from curator_pipelines.executors import Task, WorkerContext

__all__ = ["PackStage"]


@dataclass(frozen=True)
class PackStage:
    """Writes output shards below `out_url` from the samples of a pool.

    Args:
        out_url: the run directory.
        pool: the parts of that pool.
        urls: public name -> URL to read, where they differ.
    """

    out_url: str
    pool: NamedParts
    urls: dict[str, str]

    def open(self, context: WorkerContext) -> Callable[[Task[OutputShard]], PackedShard]:
        """Nothing costly: the function packs one shard and returns its counts."""

        def pack(task: Task[OutputShard]) -> PackedShard:
            packed = pack_shard(self.pool, task.payload, self.out_url, self.urls)
            context.report({"samples": packed.samples})
            return packed

        return pack
