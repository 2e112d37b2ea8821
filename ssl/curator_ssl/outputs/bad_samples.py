"""The samples that a run leaves out, and whether there are too many of them."""

from __future__ import annotations

from collections.abc import Iterable

from curator.io import storage
from curator.store import check_max_bad, write_quarantine
from curator.types import LedgerLine
from curator_ssl.config import TrainConfig
from curator_ssl.distributed import RankGroup

__all__ = ["BadSamples"]


class BadSamples:
    """The ledger of a run, of all its ranks.

    Args:
        config: a resolved config.
        samples: how many samples there are to train on.
        known: lines of samples that were found to be bad before.
        group: the processes that train together.
    """

    def __init__(self, config: TrainConfig, samples: int, known: Iterable[LedgerLine], group: RankGroup) -> None:
        self._config, self._samples, self._group = config, samples, group
        self._lines = {(line.shard, line.key or str(line.offset)): line for line in known}

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, lines: Iterable[LedgerLine]) -> None:
        """Take in the bad samples of a batch of this rank."""
        self._lines |= {(line.shard, line.key): line for line in lines}

    def all_gather(self) -> None:
        """Take in the bad samples of the other ranks. All ranks call it together."""
        for lines in self._group.all_gather(self._lines):
            self._lines |= lines

    def write(self) -> None:
        """Write OUT/quarantine.parquet; the first rank calls it."""
        write_quarantine(self._config.out, self._lines.values())

    def check(self, steps_done: int) -> None:
        """End the run on all ranks if more samples are bad than allowed. All ranks call it together.

        Raises:
            TooManyBad: more of the samples seen are bad than `max_bad` allows; see `check_max_bad`.
        """
        self.all_gather()
        seen = min(self._samples, steps_done * self._config.batch_size)
        bad = sum(line.reason.is_damage for line in self._lines.values())
        ledger = storage.join(self._config.out, "quarantine.parquet")
        check_max_bad(bad, seen, self._config.max_bad, "training so far", self._lines.values(), ledger)
