"""Which samples a step takes: pure arithmetic on (seed, step), so nothing of it needs saving or sharing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from curator.errors import InputError

__all__ = ["BLOCK", "BUFFER", "Order", "Schedule"]

# Samples that stay together on disk and are permuted as one; samples that are shuffled among each other.
BLOCK = 64
BUFFER = 16_384


class Order:
    """One skip n samples: a permutation of blocks, with a shuffle buffer over them.

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

    def take(self, start: int, stop: int) -> np.ndarray:
        """The samples at positions [start, stop) of the pass, int64."""
        first = int(np.searchsorted(self.starts, start, "right")) - 1
        pieces = []
        while first < len(self.starts) - 1 and (begin := int(self.starts[first])) < stop:
            pieces.append(self._window(first)[max(start - begin, 0) : stop - begin])
            first += 1
        return np.concatenate([np.empty(0, np.int64), *pieces])

    @lru_cache(maxsize=2)  # noqa: B019 - an order lives as long as its pass
    def _window(self, number: int) -> np.ndarray:
        blocks = self.blocks[number * self.group : (number + 1) * self.group]
        samples = (blocks[:, None] * self.block + np.arange(self.block)).ravel()
        samples = samples[samples < self.n]
        return np.random.default_rng([*self.seed, 1, number]).permutation(samples)


@dataclass(frozen=True)
class Schedule:
    """Steps of a run and the samples of each.

    Without `target_share` all samples are one set and an epoch is one pass over it, without what the last
    step cannot hold. With it, every batch takes that share from the first `targets` samples and the rest
    from the others; each of the two is skipped again and again, and an epoch is `steps_per_epoch`.

    Attributes:
        samples: how many there are; the target's first.
        targets: how many of them are the target's.
        batch_size: images a step, over all ranks.
        seed: of the run.
        target_share: see above.
        given_steps: see `steps_per_epoch`; None for as many as one pass over everything takes.

    Raises:
        InputError: fewer samples than a step needs, or a share that leaves one set without images.
    """

    samples: int
    targets: int
    batch_size: int
    seed: int
    target_share: float | None = None
    given_steps: int | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 2:
            raise InputError(f"--batch-size {self.batch_size}: needed are at least 2 images a step")
        if self.target_share is None:
            if self.samples < self.batch_size:
                raise InputError(
                    f"{self.samples} samples are fewer than one step takes: "
                    f"give a --batch-size of at most {self.samples}"
                )
        elif not (0 < self.from_target < self.batch_size and 0 < self.targets < self.samples):
            raise InputError(
                f"--target-share {self.target_share:.0%} of --batch-size {self.batch_size} leaves target or shards "
                "without images; it needs both --target and --shards"
            )

    @property
    def from_target(self) -> int:
        """Images a step from the target, where it has a share of its own."""
        assert self.target_share is not None
        return round(self.target_share * self.batch_size)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch, the same on every rank."""
        if self.target_share is None:
            return self.samples // self.batch_size
        return self.given_steps or -(-self.samples // self.batch_size)

    @property
    def left_over(self) -> int:
        """Samples of an epoch that its last step cannot hold; others in every epoch."""
        return self.samples % self.batch_size if self.target_share is None else 0

    def epoch(self, step: int) -> int:
        """The epoch a step belongs to."""
        return step // self.steps_per_epoch

    def batch(self, step: int, rank: int = 0, ranks: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """What a rank takes in a step: sample numbers, and which skip its set each belongs to.

        Over all ranks the step's samples do not depend on the number of ranks.
        """
        if self.target_share is None:
            epoch, at = divmod(step, self.steps_per_epoch)
            taken = _order(self.samples, self.seed, epoch, 0).take(at * self.batch_size, (at + 1) * self.batch_size)
            passes = np.full(len(taken), epoch)
        else:
            ours = self._stream(step, self.from_target, 0, self.targets, 1)
            theirs = self._stream(step, self.batch_size - self.from_target, self.targets, self.samples, 2)
            taken, passes = (np.concatenate(pair) for pair in zip(ours, theirs, strict=True))
        return taken[rank::ranks], passes[rank::ranks]

    def _stream(self, step: int, count: int, first: int, last: int, salt: int) -> tuple[np.ndarray, np.ndarray]:
        """The step's `count` samples of the endless stream of skips [first, last)."""
        n = last - first
        position, end = step * count, (step + 1) * count
        taken, passes = [], []
        while position < end:
            number, at = divmod(position, n)
            piece = _order(n, self.seed, number, salt).take(at, min(n, at + end - position))
            taken.append(piece + first)
            passes.append(np.full(len(piece), number))
            position += len(piece)
        return np.concatenate(taken), np.concatenate(passes)


@lru_cache(maxsize=8)
def _order(n: int, seed: int, number: int, salt: int) -> Order:
    return Order(n, (seed, number, salt))
