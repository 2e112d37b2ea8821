"""Embeds a sample of target and pool with several encoders, by the run's workers; stores nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from curator.errors import CuratorError
from curator.search import first_in_hash_order
from curator.sources import Remarks, Source, UnreadableShard
from curator.types import rows_of
from curator_pipelines.executors import Executor, Outcome
from curator_pipelines.jobs.measure.encoding import Encoding
from curator_pipelines.jobs.pictures import Original
from curator_pipelines.run import Reporter
from curator_pipelines.stages import MeasureStage, MeasureTask, SampleBlock, kills_workers

__all__ = ["Candidate", "EmbeddedSample", "Images", "Sample", "draw", "embed_samples"]

# Images of all targets together, and of the pool; and the shards of each set that they are taken from.
IMAGES = 2000
SOURCES = 20


@dataclass(frozen=True)
class Candidate:
    """An encoder to measure.

    Attributes:
        name: as the user knows it, and as tables show it.
        encoding: the encoder, loaded once on the driver.
        optional: left out with a warning where it fails; its weights are loaded with the network off.
        twin_of: the name of the trained encoder of which it is the untrained twin; empty for others.
        note: what a reader of the table must know of it.
    """

    name: str
    encoding: Encoding
    optional: bool = False
    twin_of: str = ""
    note: str = ""


@dataclass(frozen=True)
class Sample:
    """What is measured on: sources, each with the number of its first samples that are taken.

    Attributes:
        targets: of each target, by name.
        pool: of the pool.
        min_side: of the pool's images.
        give_up_shards: sources that kill every worker are not measured, and fail nothing.
    """

    targets: Mapping[str, Sequence[tuple[Source, int]]]
    pool: Sequence[tuple[Source, int]]
    min_side: int = 0
    give_up_shards: bool = False

    @property
    def sources(self) -> int:
        """The number of sources."""
        return len(self.pool) + sum(map(len, self.targets.values()))


@dataclass(frozen=True)
class Images:
    """The embedded images of one set.

    Attributes:
        names: shard and key of each row.
        vectors: float16 (n, dim), unit rows.
        originals: where the image of each row is.
    """

    names: tuple[tuple[str, str], ...]
    vectors: NDArray[np.float16]
    originals: tuple[Original, ...]


@dataclass(frozen=True)
class EmbeddedSample:
    """A sample as one encoder sees it.

    Attributes:
        targets: target name -> its images.
        pool: the pool's images.
        bad: samples that could not be used.
        refused: those of them for which the encoder gave no usable vector.
        seconds: that one worker takes for all of it.
        remarks: what is no damage and should be known.
    """

    targets: Mapping[str, Images]
    pool: Images
    bad: int
    refused: int
    seconds: float
    remarks: Remarks = field(default_factory=Remarks)

    @property
    def images(self) -> int:
        """The number of embedded images."""
        return len(self.pool.names) + sum(len(images.names) for images in self.targets.values())


def draw(targets: Mapping[str, Sequence[Source]], pool: Sequence[Source], seed: int, min_side: int = 0) -> Sample:
    """The sample of a seed: the first images of up to 20 shards of each set, as many of each shard.

    Args:
        targets: target name -> sources.
        pool: sources.
        seed: of the choice of shards, which depends on their number and order alone.
        min_side: smaller images of the pool are left out.
    """
    of_targets = {name: _first(sources, IMAGES // len(targets), seed) for name, sources in targets.items()}
    return Sample(of_targets, _first(pool, IMAGES, seed), min_side)


def _first(sources: Sequence[Source], images: int, seed: int) -> list[tuple[Source, int]]:
    chosen = rows_of(first_in_hash_order({0: len(sources)}, SOURCES, seed))
    return [(sources[row], -(-images // len(chosen))) for row in chosen]


def embed_samples(
    candidates: Sequence[Candidate], sample: Sample, executor: Executor, reporter: Reporter
) -> list[EmbeddedSample | None]:
    """What each encoder makes of the sample; None for an optional one that failed.

    Raises:
        CuratorError: an encoder that is not optional failed, or the workers kept dying.
    """
    drawn = [pair for pairs in (*sample.targets.values(), sample.pool) for pair in pairs]
    first_of_pool = len(drawn) - len(sample.pool)
    tasks = [
        MeasureTask(
            candidate.encoding.settings,
            source,
            images,
            sample.min_side if number >= first_of_pool else 0,
            candidate.optional,
        )
        for candidate in candidates
        for number, (source, images) in enumerate(drawn)
        if candidate.encoding.settings is not None
    ]
    outcomes: dict[int, Outcome[MeasureTask, SampleBlock]] = {}
    with (
        reporter.stage("measure", None, "samples") as progress,
        closing(executor.map(MeasureStage(), tasks, on_progress=progress)) as arriving,
    ):
        for outcome in arriving:
            outcomes[outcome.task.number] = outcome
    # Once, however many encoders would have measured it.
    for text in sorted({_not_measured(outcome, sample) for outcome in outcomes.values()} - {""}):
        reporter.warn(text)
    return [
        _gather(candidate, sample, [outcomes[number * len(drawn) + row] for row in range(len(drawn))], reporter)
        for number, candidate in enumerate(candidates)
    ]


def _not_measured(outcome: Outcome[MeasureTask, SampleBlock], sample: Sample) -> str:
    """Why a source is passed over, which fails nothing; empty where it is not."""
    if isinstance(outcome.error, UnreadableShard):
        return f"cannot read {outcome.error}; it is not measured"
    if sample.give_up_shards and kills_workers(outcome):
        return f"{outcome.error}; it is not measured"
    return ""


def _gather(
    candidate: Candidate, sample: Sample, outcomes: Sequence[Outcome[MeasureTask, SampleBlock]], reporter: Reporter
) -> EmbeddedSample | None:
    for outcome in outcomes:
        if outcome.error is not None and not _not_measured(outcome, sample):
            if not candidate.optional:
                raise CuratorError(f"measure: {outcome.error}") from outcome.error
            reporter.warn(f"{candidate.name} cannot be measured: {outcome.error}")
            return None
    ends = np.cumsum([len(pairs) for pairs in sample.targets.values()]).tolist()
    starts = [0, *ends]
    targets = {
        name: _images(candidate, outcomes[start:end])
        for name, start, end in zip(sample.targets, starts, ends, strict=False)
    }
    blocks = [outcome.value for outcome in outcomes if outcome.value is not None]
    remarks = Remarks()
    for block in blocks:
        remarks.update(block.remarks)
    return EmbeddedSample(
        targets,
        _images(candidate, outcomes[starts[-1] :]),
        sum(block.bad for block in blocks),
        sum(block.refused for block in blocks),
        sum(block.seconds for block in blocks),
        remarks,
    )


def _images(candidate: Candidate, outcomes: Sequence[Outcome[MeasureTask, SampleBlock]]) -> Images:
    read = [(outcome.task.payload.source, outcome.value) for outcome in outcomes if outcome.value is not None]
    names = tuple((source.name, key) for source, block in read for key in block.keys)
    originals = tuple(
        Original(source.kind, source.url, key, *place)
        for source, block in read
        for key, place in zip(block.keys, block.places, strict=True)
    )
    empty = np.empty((0, candidate.encoding.dim), np.float16)
    return Images(names, np.concatenate([empty, *(block.vectors for _, block in read)]), originals)
