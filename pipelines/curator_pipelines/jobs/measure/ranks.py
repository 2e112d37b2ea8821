"""What is measured of an encoder: where the target's held-out images rank in the pool, and how long it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from curator.errors import Another, CuratorError, InputError, Use
from curator.selection import CHANCE, beats_chance, hold_out, is_better, pool_ranks
from curator.sources import Remarks, Source, read_source
from curator.types import RawSample
from curator_pipelines.executors import Executor
from curator_pipelines.jobs.measure.sample import Candidate, EmbeddedSample, Sample, embed_samples
from curator_pipelines.jobs.pictures import Original
from curator_pipelines.run import Reporter

__all__ = ["LEAST_ROWS", "TOP", "Measured", "check_enough", "first_choice", "measure", "rank_sample"]

TOP = 0.01
# With fewer rows no difference is significant: 0.5 ** 7 < 0.01.
LEAST_ROWS = 7


@dataclass(frozen=True)
class Measured:
    """An encoder, measured.

    Attributes:
        candidate: the encoder.
        rows: target name, shard and key of each held-out row.
        ranks: float64 (rows,): the share of the pool's images that are nearer to the rest of the target; 0 is best.
        originals: where the image of each row is.
        pool: how many images of the pool they were ranked among.
        bad: samples of target and pool that could not be used.
        seconds: that one worker takes for an image.
        remarks: what is no damage to the samples and should be known.
    """

    candidate: Candidate
    rows: tuple[tuple[str, str, str], ...]
    ranks: NDArray[np.float64]
    originals: tuple[Original, ...]
    pool: int
    bad: int
    seconds: float
    remarks: Remarks = field(default_factory=Remarks)

    @property
    def name(self) -> str:
        """The encoder's name."""
        return self.candidate.name

    @property
    def median(self) -> float:
        """The median rank; of several targets the mean of theirs."""
        targets = np.array([target for target, _, _ in self.rows])
        return float(np.mean([np.median(self.ranks[targets == target]) for target in dict.fromkeys(targets)]))

    @property
    def in_top(self) -> float:
        """The share of the held-out rows that are in the pool's best hundredth."""
        return float(np.mean(self.ranks <= TOP))

    @property
    def beats_chance(self) -> bool:
        """Whether it ranks them significantly better than a draw would."""
        return bool(beats_chance(self.ranks)) and self.median < CHANCE

    @property
    def is_worse_than_chance(self) -> bool:
        """Whether a draw would do significantly better."""
        return bool(is_better(np.full(len(self.ranks), CHANCE), self.ranks))

    def is_better_than(self, other: Measured) -> bool:
        """Whether it ranks the same held-out rows significantly better than another encoder does."""
        place = {row: number for number, row in enumerate(other.rows)}
        both = [(number, place[row]) for number, row in enumerate(self.rows) if row in place]
        own, others = np.array(both, np.int64).reshape(-1, 2).T
        return bool(is_better(self.ranks[own], other.ranks[others])) and self.median < other.median


def measure(candidates: Sequence[Candidate], sample: Sample, executor: Executor, reporter: Reporter) -> list[Measured]:
    """Measure encoders on one sample, in their order; an optional one that fails is left out, with a warning.

    Raises:
        InputError: the sample is too small, or its images are all alike; an encoder gave no usable vector.
        CuratorError: the workers failed, or not one encoder could be measured.
    """
    measured = []
    failure: InputError | None = None
    for candidate, embedded in zip(candidates, embed_samples(candidates, sample, executor, reporter), strict=True):
        if embedded is None or _gave_nothing(candidate, embedded, reporter):
            continue
        try:
            _check_pool(embedded)
            measured.append(rank_sample(candidate, embedded))
        except InputError as error:
            if not candidate.optional:
                raise
            # Of one encoder it may be the encoder; of all of them it is the images.
            failure = error
            reporter.warn(f"{candidate.name} cannot be measured: {error}")
    if failure is not None and not measured:
        raise failure
    if not measured:
        raise CuratorError(
            "no encoder could be measured: see the warnings above", field="encoder", advice=Use("encoder")
        )
    return measured


def check_enough(targets: Mapping[str, Sequence[Source]]) -> None:
    """Refuse a target that is too small to compare encoders by, before anything is embedded.

    Args:
        targets: target name -> sources that hold images.

    Raises:
        InputError: with the number of its images.
    """
    for name, sources in targets.items():
        samples = (
            item for source in sources for item in read_source(source, keep=lambda member: False) if _is_sample(item)
        )
        _check_target(name, sum(1 for _ in islice(samples, LEAST_ROWS)), "images")


def _is_sample(item: object) -> bool:
    return isinstance(item, RawSample)


def first_choice(measured: Sequence[Measured]) -> Measured | None:
    """The first encoder that beats chance, replaced by a later one only where that is significantly better."""
    choice: Measured | None = None
    for encoder in measured:
        if encoder.beats_chance and (choice is None or encoder.is_better_than(choice)):
            choice = encoder
    return choice


def _gave_nothing(candidate: Candidate, embedded: EmbeddedSample, reporter: Reporter) -> bool:
    """Whether an optional encoder gave no vector that can be used, which for any other is an error."""
    if not embedded.refused:
        return False
    text = f"{embedded.refused} of {embedded.refused + embedded.images} images got a vector that is not finite, or zero"
    if embedded.images:
        reporter.warn(f"{candidate.name}: {text}")
        return False
    if candidate.optional:
        reporter.warn(f"{candidate.name} cannot be measured: {text}")
        return True
    raise InputError(text, field="encoder", value=candidate.name, advice=Another("encoder"))


def _check_pool(embedded: EmbeddedSample) -> None:
    if not embedded.pool.names:
        raise InputError(
            f"none of its sampled images could be read ({embedded.bad} bad samples of target and pool)",
            field="pool",
            advice="inspect the shards",
        )


def rank_sample(candidate: Candidate, embedded: EmbeddedSample) -> Measured:
    """Rank the held-out rows of every target among the pool's.

    Raises:
        InputError: a target has too few images, or they are all alike.
    """
    rows: list[tuple[str, str, str]] = []
    originals: list[Original] = []
    ranks = [np.empty(0)]
    for name, images in embedded.targets.items():
        _check_target(name, len(images.names), "images that can be read")
        held_out = hold_out(images.vectors, None, 0)
        _check_target(name, len(held_out.rows), "images that differ", len(images.names))
        ranks.append(pool_ranks(held_out, embedded.pool.vectors))
        rows += [(name, *images.names[row]) for row in held_out.rows]
        originals += [images.originals[row] for row in held_out.rows]
    seconds = embedded.seconds / embedded.images
    pool, remarks = len(embedded.pool.names), embedded.remarks
    ranked = np.concatenate(ranks)
    return Measured(candidate, tuple(rows), ranked, tuple(originals), pool, embedded.bad, seconds, remarks)


def _check_target(name: str, count: int, what: str, of: int | None = None) -> None:
    if count < LEAST_ROWS:
        target = f"target {name}" if name else "target"
        found = f"{count} {what}" if of is None else f"none of {of} {what}"
        found = found.replace("images", "image", 1) if found.startswith("1 ") else found
        raise InputError(
            f"the {target} has {found}: at least {LEAST_ROWS} are needed to compare encoders",
            field="target",
            advice=("give more images", "name the encoder of a selection yourself"),
        )
