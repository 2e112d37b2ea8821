"""The calibrate stage: the work of embed and pack on real shards, for a while, with nothing left behind."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from curator.io import storage
from curator.packing import SelectedRows, pack_shard, plan_shards
from curator.sources import Source
from curator.store import PartStore
from curator.types import part_ids
from curator_pipelines.executors import Task, WorkerContext
from curator_pipelines.stages.embed import EmbedStage

__all__ = ["CalibrateStage", "Measured"]

# Of the time given, for embedding; the rest is for packing.
EMBED_SHARE = 0.75
# What is packed: as many samples as one output shard has by default.
PACK_SAMPLES = 1000


@dataclass(frozen=True)
class Measured:
    """What one worker did.

    Attributes:
        seconds: of embedding.
        samples: embedded or put into the ledger in that time.
        bytes: read for them.
        stored: bytes of embeddings and metadata.
        encode: seconds in the encoder.
        decode: seconds of all decoding threads together.
        threads: of decoding.
        pack_seconds: of packing; 0 if there was nothing to pack.
        packed: samples packed in that time.
        packed_bytes: of their tars.
        memory: the worker's peak, in bytes.
        gpu_memory: peak, in bytes; 0 without a GPU.
    """

    seconds: float
    samples: int
    bytes: int
    stored: int
    encode: float
    decode: float
    threads: int
    pack_seconds: float = 0.0
    packed: int = 0
    packed_bytes: int = 0
    memory: int = 0
    gpu_memory: int = 0


@dataclass(frozen=True)
class CalibrateStage:
    """Does a run's work for some seconds; a task is the sources to take for it, in their order.

    Args:
        embed: the run's own stage.
        seconds: how long, apart from the start of the worker.
        share: of the samples that will be packed, as far as that is known.
    """

    embed: EmbedStage
    seconds: float
    share: float

    def open(self, context: WorkerContext) -> Callable[[Task[tuple[Source, ...]]], Measured]:
        """Build and warm the encoder; the function measures."""
        import torch

        encoder = self.embed.build(context)
        encoder.encode(torch.zeros(encoder.input_shape, dtype=torch.uint8))

        def measure(task: Task[tuple[Source, ...]]) -> Measured:
            from curator.embedding import embed_source

            with tempfile.TemporaryDirectory(prefix="curator-") as folder:
                store = PartStore(f"{folder}/pool")
                parts = store.register(task.payload)
                begun = time.monotonic()
                end = begun + EMBED_SHARE * self.seconds
                done = Measured(0.0, 0, 0, 0, 0.0, 0.0, context.cpus)
                ids = [np.empty(0, np.int64)]
                for part, source in zip(parts, task.payload, strict=True):
                    block, mark = embed_source(
                        source,
                        encoder,
                        min_side=self.embed.min_side,
                        threads=context.cpus,
                        report=context.report,
                        enough=lambda samples: time.monotonic() > end,
                    )
                    store.commit(part.part, part.identity, block, source.name, mark)
                    last = block.rows[-1] if block.rows else None
                    cut = time.monotonic() > end and source.kind == "tar" and last is not None
                    done = replace(
                        done,
                        samples=done.samples + mark.seen,
                        bytes=done.bytes + (last.offset + last.size if cut and last else source.stat.size),
                        encode=done.encode + mark.seconds["encode"],
                        decode=done.decode + mark.seconds["decode"],
                    )
                    if source.kind == "tar":
                        ids.append(part_ids(part.part, len(block.rows)))
                    if time.monotonic() > end:
                        break
                done = replace(done, seconds=time.monotonic() - begun, stored=_size_of(store))
                urls = {source.name: source.url for source in task.payload}
                return replace(self._pack(done, store, np.concatenate(ids), urls, folder), **_memory(context))

        return measure

    def _pack(self, done: Measured, store: PartStore, ids: np.ndarray, urls: dict[str, str], folder: str) -> Measured:
        """Pack as sparsely as the run will, so that reads have the run's gaps."""
        step = max(1, round(1 / self.share))
        ids = ids[::step][:PACK_SAMPLES]
        if not len(ids):
            return done
        unknown = np.full(len(ids), -1, np.int32)
        begun = time.monotonic()
        samples = size = 0
        for shard in plan_shards(
            store, SelectedRows.in_pool_order(ids, unknown, unknown, unknown), max(50, len(ids) // 10), 0
        ):
            packed = pack_shard(store, shard, folder, urls)
            samples, size = samples + packed.samples, size + packed.size
            if time.monotonic() - begun > (1 - EMBED_SHARE) * self.seconds:
                break
        return replace(done, pack_seconds=time.monotonic() - begun, packed=samples, packed_bytes=size)


def _size_of(store: PartStore) -> int:
    urls = [url for part in store.finished() for url in (store.array_url(part), store.metadata_url(part))]
    return sum(storage.stat(url).size for url in urls)


def _memory(context: WorkerContext) -> dict[str, int]:
    peak = {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    if context.device.startswith("cuda"):
        import torch

        peak["gpu_memory"] = torch.cuda.max_memory_allocated()
    return peak
