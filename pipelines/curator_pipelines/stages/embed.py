"""The embed stage: one source becomes one stored part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from curator.sources import Source
from curator.store import DoneMark, PartStore
from curator_pipelines.executors import Outcome, Task, WorkerContext

if TYPE_CHECKING:
    from curator.encoders import Encoder

__all__ = ["EmbedStage", "EmbedTask", "EncoderSettings", "kills_workers"]


def kills_workers(outcome: Outcome[Any, Any]) -> bool:
    """True where a source cannot be got past: workers died of it, or one had not enough memory even with care."""
    return outcome.lost or isinstance(outcome.error, MemoryError)


@dataclass(frozen=True)
class EncoderSettings:
    """What `load_encoder` needs, with nothing left to decide: the same in every worker.

    Attributes:
        spec: see `load_encoder`.
        weights: see `load_encoder`.
        precision: `fp32` or `bf16`.
        batch_size: images a forward pass.
        tensors_hash: of the weights that the driver loaded.
        plugin: the identity of an encoder of one's own; None for a built-in one.
        plugin_folder: where else than among installed packages such an encoder may be.
    """

    spec: str
    weights: str | None
    precision: str
    batch_size: int
    tensors_hash: str
    plugin: dict[str, Any] | None = None
    plugin_folder: str | None = None


@dataclass(frozen=True)
class EmbedTask:
    """One source, the number of its part and the identity that its files' names will carry."""

    source: Source
    part: int
    identity: str

    def __repr__(self) -> str:
        return self.source.name


@dataclass(frozen=True)
class EmbedStage:
    """Embeds sources into the part store at `store_url`.

    Args:
        store_url: `OUT/target` or `OUT/pool`.
        encoder: None where every source is ready embeddings.
        min_side: see `curator.embedding.read_decode_encode`.
    """

    store_url: str
    encoder: EncoderSettings | None
    min_side: int = 0

    def open(self, context: WorkerContext) -> Callable[[Task[EmbedTask]], DoneMark]:
        """Build the encoder once; the function it returns stores a part and gives back its done-mark.

        Raises:
            CuratorError: see `build`, and `curator.embedding.check_fixed_batch`.
        """
        encoder = self.build(context) if self.encoder else None
        if encoder:
            from curator.embedding import check_fixed_batch

            check_fixed_batch(encoder, self.store_url)
        store = PartStore(self.store_url)

        def embed(task: Task[EmbedTask]) -> DoneMark:
            return self._embed(task, store, encoder, context)

        return embed

    def build(self, context: WorkerContext) -> Encoder:
        """Load the encoder that the driver chose, and no other.

        Raises:
            CuratorError: the weights here are not the driver's, or a plug-in is not.
        """
        import torch

        from curator.encoders import ENCODERS, load_encoder
        from curator.errors import CuratorError
        from curator.plugins import add_plugin_folder

        torch.set_num_threads(context.cpus)
        settings = self.encoder
        assert settings is not None
        add_plugin_folder(settings.plugin_folder)
        encoder = load_encoder(
            settings.spec,
            weights=settings.weights,
            device=context.device,
            precision=settings.precision,
            batch_size=settings.batch_size,
        )
        if encoder.tensors_hash != settings.tensors_hash:
            raise CuratorError(f"the weights of {settings.spec} on a worker are not the driver's: make them the same")
        if ENCODERS.identity(settings.spec) != settings.plugin:
            raise CuratorError(f"the files of {settings.spec} on a worker are not the driver's: make them the same")
        return encoder

    def _embed(
        self, task: Task[EmbedTask], store: PartStore, encoder: Encoder | None, context: WorkerContext
    ) -> DoneMark:
        work = task.payload
        if work.source.is_ready:
            from curator.store import import_part

            mark = import_part(work.source, store, work.part, work.identity, self.min_side)
            context.report({"samples": mark.embedded, "bad": len(mark.ledger)})
            return mark
        from curator.embedding import embed_into

        assert encoder is not None
        with store.writer(work.part, work.identity, work.source.name, encoder.dim) as writer:
            mark = embed_into(
                writer,
                work.source,
                encoder,
                min_side=self.min_side,
                threads=context.cpus,
                careful=task.attempt > 0,
                report=context.report,
            )
            return writer.finish(mark)
