"""The quarantine ledger: every sample left out, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from curator import schemas, storage
from curator.errors import TooManyBad
from curator.types import LedgerLine

__all__ = ["Account", "write_quarantine"]


@dataclass
class Account:
    """What became of the samples of one or more parts; `seen = embedded + lines` always holds.

    Attributes:
        seen: samples met.
        embedded: samples stored.
        bad: lines that speak of damage; a shard that could not be read is one line.
        unwanted: lines of sound samples that a flag refuses (`--min-side`).
        hidden: samples expected in unreadable shards, beyond the one line each has.
    """

    seen: int = 0
    embedded: int = 0
    bad: int = 0
    unwanted: int = 0
    hidden: int = 0

    def add(self, seen: int, embedded: int, lines: Iterable[LedgerLine]) -> None:
        """Add a finished part."""
        self.seen += seen
        self.embedded += embedded
        for line in lines:
            if line.reason.is_damage:
                self.bad += 1
            else:
                self.unwanted += 1

    def add_unreadable(self, expected: int) -> None:
        """Add a shard that could not be read at all."""
        self.seen += 1
        self.bad += 1
        self.hidden += expected - 1

    def judge(self, max_bad: float, what: str) -> None:
        """Raise if more than this share of the samples seen is bad.

        Args:
            max_bad: share between 0 and 1.
            what: whose samples, for the message.

        Raises:
            TooManyBad: with the figures and where to look.
        """
        bad, seen = self.bad + self.hidden, self.seen + self.hidden
        if bad > max_bad * seen:
            raise TooManyBad(
                f"{bad} of {seen} samples of the {what} are bad ({bad / seen:.2%}), more "
                f"than --max-bad {max_bad:.2%}: see quarantine.parquet for each, or allow more"
            )


def write_quarantine(url: str, lines: Iterable[LedgerLine]) -> None:
    """Write OUT/quarantine.parquet."""
    rows = [asdict(line) | {"reason": str(line.reason)} for line in lines]
    schemas.write_table(storage.join(url, "quarantine.parquet"), schemas.QUARANTINE, rows)
