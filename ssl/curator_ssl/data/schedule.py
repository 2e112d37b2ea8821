"""Which samples a step takes: pure arithmetic on (seed, step), so nothing of it needs saving or sharing."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from curator.errors import InputError, Leave
from curator_ssl.batch_shares import by_share
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
class _Set:
    """Samples [first, last), of which every batch has so many images.

    Attributes:
        name: in words.
        field: the setting that decides it.
        first: the first sample.
        last: the one behind the last.
        images: of every batch.
        salt: what tells its order from that of other sets.
    """

    name: str
    field: str
    first: int
    last: int
    images: int
    salt: int


@dataclass(frozen=True)
class Schedule:
    """Steps of a run and the samples of each.

    Without shares all samples are one set and an epoch is one pass over it, without what the last step cannot hold.
    With shares, every batch takes `target_share` from the first `targets` samples, the share of each set of `shared`
    from its samples, which are the last ones, and what is left of it from all others; each set is gone through again
    and again, and an epoch is `steps_per_epoch`.

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
        shared: samples and share of each set that has a share of its own, beside the target.

    Raises:
        InputError: fewer samples than a step needs, a share that leaves a set without images, or an end on a target
            that is all there is or has fewer images than two.
    """

    samples: int
    targets: int
    batch_size: int
    seed: int
    target_share: float = 0.0
    given_steps: int | None = None
    target_from: int | None = None
    shared: tuple[tuple[int, float], ...] = ()

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise InputError(f"there is {self.samples or 'no'} image to train on: give two at least, to tell apart")
        if self.batch_size < 2:
            raise InputError("a step needs at least 2 images", field="batch_size", value=self.batch_size)
        if not self.has_shares and self.samples < self.batch_size:
            raise InputError(
                f"{self.samples} samples are fewer than one step takes",
                field="batch_size",
                value=self.batch_size,
                advice=f"a step can take at most {self.samples}",
            )
        for part in self._sets if self.has_shares else []:
            if part.images < 1 or part.first == part.last:
                raise InputError(
                    f"of {self.batch_size} images a step {part.images} are left for {part.name}, "
                    f"{part.last - part.first:,} samples: every set must have some",
                    field=part.field,
                )
        if self.target_from is not None and not 2 <= self.targets < self.samples:
            raise InputError(
                f"of {self.samples:,} images {self.targets:,} are the target's: an end on the target alone needs two "
                "of them at least, and shards beside them",
                field="finish_on_target",
                advice=Leave("finish_on_target"),
            )

    @property
    def has_shares(self) -> bool:
        """Some set has a share of every batch to itself."""
        return bool(self.target_share or self.shared)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch, the same on every rank."""
        if not self.has_shares:
            return self.samples // self.batch_size
        return self.given_steps or -(-self.samples // self.batch_size)

    @property
    def left_over(self) -> int:
        """Samples of an epoch that its last step cannot hold; others in every epoch."""
        return 0 if self.has_shares else self.samples % self.batch_size

    @cached_property
    def _sets(self) -> list[_Set]:
        """The sets of a schedule with shares: the target, what has no share, and the others, where they are."""
        shares = [self.target_share, *(share for _, share in self.shared)]
        # Rounded in sum, so that shares that are all of a batch leave nothing over.
        ends = [round(share * self.batch_size) for share in itertools.accumulate(shares)]
        images = [end - start for start, end in itertools.pairwise([0, *ends])]
        first = self.targets if self.target_share else 0
        shared_from = self.samples - sum(count for count, _ in self.shared)
        sets = [_Set("the target", "target_share", 0, first, images[0], 1)] if self.target_share else []
        if first < shared_from or ends[-1] != self.batch_size:
            name = "the shards without a share" if self.target_share else "all without a share"
            field = "target_share" if self.target_share else "shards"
            sets.append(_Set(name, field, first, shared_from, self.batch_size - ends[-1], 2))
        for number, (count, share) in enumerate(self.shared):
            of_batch = _Set(
                f"the shards of {100 * share:.4g}%",
                "shards",
                shared_from,
                shared_from + count,
                images[number + 1],
                4 + number,
            )
            sets.append(of_batch)
            shared_from += count
        return sets

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
        elif not self.has_shares:
            epoch, turn = divmod(step, self.steps_per_epoch)
            first = turn * self.batch_size
            taken = _order(self.samples, self.seed, epoch, 0).take(first, first + self.batch_size)
            passes = np.full(len(taken), epoch)
        else:
            streams = [self._stream(step, part.images, part.first, part.last, part.salt) for part in self._sets]
            taken, passes = (np.concatenate(parts) for parts in zip(*streams, strict=True))
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
        tuple(zip(samples.shared, by_share(config.shards).shares, strict=True)),
    )


@lru_cache(maxsize=8)
def _order(n: int, seed: int, number: int, salt: int) -> Order:
    return Order(n, (seed, number, salt))
