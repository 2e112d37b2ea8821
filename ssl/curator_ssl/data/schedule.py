"""Which samples a step takes: pure arithmetic on (seed, step), so nothing of it needs saving or sharing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from curator.errors import InputError, Leave
from curator_ssl.config import TrainConfig
from curator_ssl.data.samples import Samples

__all__ = ["BLOCK", "BUFFER", "Order", "Schedule", "make_schedule"]

Numbers: TypeAlias = NDArray[np.int64]
# The passes of a run's end are counted from here, so that its views are others than those before.
END_PASSES = 1 << 32
# Samples that stay together on disk and are permuted as one; samples that are shuffled among each other.
BLOCK = 64
BUFFER = 16_384


class Order:
    """One pass over n samples: a permutation of blocks, with a shuffle buffer over them.

    A function of (n, seed, number, block, buffer). Memory: a number a block and one buffer; positions are
    computed where they are asked for.

    Args:
        n: how many samples.
        seed: of the run, with whatever else tells this pass from others.
        block: consecutive samples that are permuted as one.
        buffer: samples that are shuffled among each other, rounded up to whole blocks.
    """

    def __init__(self, n: int, seed: tuple[int, ...], *, block: int = BLOCK, buffer: int = BUFFER) -> None:
        self.n, self.seed, self.block = n, seed, block
        self.blocks = np.random.default_rng([*seed, 0]).permutation(-(-n // block))
        sizes = np.minimum(block, n - self.blocks * block)
        self.group = -(-buffer // block)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        self.starts = np.append(starts[: -1 : self.group], n)

    def take(self, start: int, stop: int) -> Numbers:
        """The samples at positions [start, stop) of the pass, int64."""
        first = int(np.searchsorted(self.starts, start, "right")) - 1
        pieces = []
        while first < len(self.starts) - 1 and (begin := int(self.starts[first])) < stop:
            pieces.append(self._window(first)[max(start - begin, 0) : stop - begin])
            first += 1
        return np.concatenate([np.empty(0, np.int64), *pieces])

    @lru_cache(maxsize=2)  # noqa: B019 - an order lives as long as its pass
    def _window(self, number: int) -> Numbers:
        blocks = self.blocks[number * self.group : (number + 1) * self.group]
        samples = (blocks[:, None] * self.block + np.arange(self.block)).ravel()
        samples = samples[samples < self.n]
        return np.random.default_rng([*self.seed, 1, number]).permutation(samples)


@dataclass(frozen=True)
class Schedule:
    """Steps of a run and the samples of each.

    With a `target_share` of 0 all samples are one set and an epoch is one pass over it, without what the last
    step cannot hold. With a share, every batch takes that share from the first `targets` samples and the rest
    from the others; each of the two is gone through again and again, and an epoch is `steps_per_epoch`.

    From the step `target_from` on all images are the target's, whatever was before: images that were found for a target
    are neither balanced nor quite of its kind, and a last part without them mends that (Liu et al., "Few-Shot
    Recognition via Stage-Wise Retrieval-Augmented Finetuning", CVPR 2025, there with labels).

    Attributes:
        samples: how many there are; the target's first.
        targets: how many samples are the target's.
        batch_size: images a step, over all ranks.
        seed: of the run.
        target_share: see above.
        given_steps: see `steps_per_epoch`; None for as many as one pass over everything takes.
        target_from: see above; None for never.

    Raises:
        InputError: fewer samples than a step needs, a share that leaves one set without images, or an end on a target
            that is all there is or has fewer images than two.
    """

    samples: int
    targets: int
    batch_size: int
    seed: int
    target_share: float = 0.0
    given_steps: int | None = None
    target_from: int | None = None

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise InputError(f"there is {self.samples or 'no'} image to train on: give two at least, to tell apart")
        if self.batch_size < 2:
            raise InputError("a step needs at least 2 images", field="batch_size", value=self.batch_size)
        if not self.target_share:
            if self.samples < self.batch_size:
                raise InputError(
                    f"{self.samples} samples are fewer than one step takes",
                    field="batch_size",
                    value=self.batch_size,
                    advice=f"a step can take at most {self.samples}",
                )
        elif not (0 < self.from_target < self.batch_size and 0 < self.targets < self.samples):
            raise InputError(
                f"{self.target_share:.0%} of {self.batch_size} images a step leaves the target or the shards without "
                "images; both must have some",
                field="target_share",
            )
        if self.target_from is not None and not 2 <= self.targets < self.samples:
            raise InputError(
                f"of {self.samples:,} images {self.targets:,} are the target's: an end on the target alone needs two "
                "of them at least, and shards beside them",
                field="finish_on_target",
                advice=Leave("finish_on_target"),
            )

    @property
    def from_target(self) -> int:
        """Images a step from the target, where it has a share of its own."""
        return round(self.target_share * self.batch_size)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch, the same on every rank."""
        if not self.target_share:
            return self.samples // self.batch_size
        return self.given_steps or -(-self.samples // self.batch_size)

    @property
    def left_over(self) -> int:
        """Samples of an epoch that its last step cannot hold; others in every epoch."""
        return self.samples % self.batch_size if not self.target_share else 0

    def epoch(self, step: int) -> int:
        """The epoch a step belongs to."""
        return step // self.steps_per_epoch

    def batch(self, step: int, rank: int = 0, ranks: int = 1) -> tuple[Numbers, Numbers]:
        """What a rank takes in a step: sample numbers, and which pass over its set each belongs to.

        Over all ranks the step's samples do not depend on the number of ranks.
        """
        if self.target_from is not None and step >= self.target_from:
            taken, passes = self._stream(step - self.target_from, self.batch_size, 0, self.targets, 3)
            passes = passes + END_PASSES
        elif not self.target_share:
            epoch, turn = divmod(step, self.steps_per_epoch)
            first = turn * self.batch_size
            taken = _order(self.samples, self.seed, epoch, 0).take(first, first + self.batch_size)
            passes = np.full(len(taken), epoch)
        else:
            target = self._stream(step, self.from_target, 0, self.targets, 1)
            others = self._stream(step, self.batch_size - self.from_target, self.targets, self.samples, 2)
            taken, passes = (np.concatenate(pair) for pair in zip(target, others, strict=True))
        return taken[rank::ranks], passes[rank::ranks]

    def _stream(self, step: int, count: int, first: int, last: int, salt: int) -> tuple[Numbers, Numbers]:
        """The step's `count` samples of the endless stream of passes over [first, last)."""
        n = last - first
        position, end = step * count, (step + 1) * count
        taken, passes = [], []
        while position < end:
            number, start = divmod(position, n)
            piece = _order(n, self.seed, number, salt).take(start, min(n, start + end - position))
            taken.append(piece + first)
            passes.append(np.full(len(piece), number))
            position += len(piece)
        return np.concatenate(taken), np.concatenate(passes)


def make_schedule(config: TrainConfig, samples: Samples) -> Schedule:
    """Which samples each step of a run takes.

    Raises:
        InputError: as `Schedule`.
    """
    target_from = None
    # While the length is still to be found out there is no end.
    if config.finish_on_target and config.steps:
        target_from = config.steps - max(1, round(config.finish_on_target * config.steps))
    return Schedule(
        len(samples),
        samples.targets,
        config.batch_size,
        config.seed,
        config.target_share,
        config.steps_per_epoch,
        target_from,
    )


@lru_cache(maxsize=8)
def _order(n: int, seed: int, number: int, salt: int) -> Order:
    return Order(n, (seed, number, salt))
