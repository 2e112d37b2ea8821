"""The pack stage: one output shard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from curator.packing import OutputShard, PackedShard, pack_shard
from curator.store import PartStore
from curator_pipelines.executors import Task, WorkerContext

__all__ = ["PackStage"]


@dataclass(frozen=True)
class PackStage:
    """Writes output shards below `out_url` from the samples of `store_url`.

    Args:
        out_url: the run directory.
        store_url: its pool.
        urls: public name -> URL to read, where they differ.
    """

    out_url: str
    store_url: str
    urls: dict[str, str]

    def open(self, context: WorkerContext) -> Callable[[Task[OutputShard]], PackedShard]:
        """Nothing costly: the function packs one shard and returns its counts."""
        store = PartStore(self.store_url)

        def pack(task: Task[OutputShard]) -> PackedShard:
            packed = pack_shard(store, task.payload, self.out_url, self.urls)
            context.report({"samples": packed.samples})
            return packed

        return pack
