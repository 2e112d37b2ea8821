"""The measure stage: the first images of a source, embedded by one encoder or another, with nothing stored."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curator.sources import Remarks, Source
from curator_pipelines.executors import Task, WorkerContext
from curator_pipelines.stages.embed import EmbedStage, EncoderSettings

if TYPE_CHECKING:
    from curator.encoders import Encoder

__all__ = ["MeasureStage", "MeasureTask", "SampleBlock"]


@dataclass(frozen=True)
class MeasureTask:
    """The first images of one source, for one encoder.

    Attributes:
        encoder: with what.
        source: of what.
        images: how many samples at most, good or bad.
        min_side: see `curator.embedding.read_decode_encode`.
        offline: load the encoder's weights with the network off.
    """

    encoder: EncoderSettings
    source: Source
    images: int
    min_side: int = 0
    offline: bool = False

    def __repr__(self) -> str:
        return f"{self.source.name} with {self.encoder.spec}"


@dataclass(frozen=True)
class SampleBlock:
    """What a task gives.

    Attributes:
        keys: of the rows.
        places: of each row's image: offset and size of its bytes, and their sha256.
        vectors: float16 (n, dim), unit rows.
        bad: samples that could not be used.
        refused: those of them whose vector was not finite, or zero.
        seconds: of reading, decoding and encoding, without the building of the encoder and without padding.
        remarks: what is no damage and should be known.
    """

    keys: tuple[str, ...]
    places: tuple[tuple[int, int, str], ...]
    vectors: NDArray[np.float16]
    bad: int
    refused: int
    seconds: float
    remarks: Remarks = field(default_factory=Remarks)


@dataclass(frozen=True)
class MeasureStage:
    """Embeds the first images of sources. A worker keeps the encoder of its last task, since tasks come by encoder."""

    def open(self, context: WorkerContext) -> Callable[[Task[MeasureTask]], SampleBlock]:
        """Return the function that embeds; encoders are built when they are first needed."""
        last: list[tuple[EncoderSettings, Encoder]] = []

        def measure(task: Task[MeasureTask]) -> SampleBlock:
            work = task.payload
            if not last or last[0][0] != work.encoder:
                last.clear()
                last.append((work.encoder, _build(work, context)))
            return _embed(task, last[0][1], context)

        return measure


def _build(work: MeasureTask, context: WorkerContext) -> Encoder:
    import torch

    from curator.encoders import network_off

    with ExitStack() as stack:
        if work.offline:
            stack.enter_context(network_off())
        encoder = EmbedStage("", work.encoder).build(context)
    # The first pass prepares what later ones use.
    encoder.encode(torch.zeros(encoder.input_shape, dtype=torch.uint8))
    return encoder


def _embed(task: Task[MeasureTask], encoder: Encoder, context: WorkerContext) -> SampleBlock:
    from curator.embedding import embed_source
    from curator.errors import Reason

    work = task.payload
    block, mark = embed_source(
        work.source,
        encoder,
        min_side=work.min_side,
        threads=context.cpus,
        careful=task.attempt > 0,
        report=context.report,
        enough=lambda samples: samples >= work.images,
    )
    padded = -(-len(block.rows) // encoder.batch_size) * encoder.batch_size
    padding = mark.seconds["encode"] * (1 - len(block.rows) / padded) if padded else 0.0
    damaged = [line for line in mark.ledger if line.reason.is_damage]
    return SampleBlock(
        tuple(row.key for row in block.rows),
        tuple((row.offset, row.size, row.sha256) for row in block.rows),
        block.vectors,
        len(damaged),
        sum(line.reason is Reason.BAD_EMBEDDING for line in damaged),
        mark.seconds["total"] - padding,
        mark.remarks,
    )
