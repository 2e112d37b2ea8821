"""Shards that fail while a set is embedded: which are their own damage, and which say that the store has gone away.

A shard that is missing or denied among others that can be read is a line of the ledger. Credentials that expire, or a
store that is down, would fill the ledger with sound shards, so those end the run before `max_bad` is asked.
"""

from __future__ import annotations

from curator.errors import CuratorError, UnusableInput, Use, counted
from curator.io import Fault, public_text, reason_of, storage
from curator.sources import Source, UnreadableShard
from curator.store import DoneMark
from curator_pipelines.executors import FailuresInARow, Outcome
from curator_pipelines.run import Reporter
from curator_pipelines.stages import EmbedTask, RenewTask, kills_workers

__all__ = ["FailedShards"]

# Shards that kill their workers are named up to so many.
NAMED = 5


class FailedShards:
    """What failed so far.

    Args:
        name: of the set.
        read_before: a source that could be read in an earlier run; None where there is none.
        reporter: warned of every shard that cannot be read.
        give_up: shards that kill every worker are unreadable ones, and no failure.

    Attributes:
        unreadable: part number -> why its shard could not be read.
    """

    def __init__(self, name: str, read_before: Source | None, reporter: Reporter, give_up: bool = False) -> None:
        self.unreadable: dict[int, str] = {}
        self._name = name
        self._read = read_before
        self._reporter = reporter
        self._give_up = give_up
        self._failures: list[Exception] = []
        self._killers: list[tuple[str, Exception]] = []
        self._unreadable: list[UnreadableShard] = []
        self._in_a_row = FailuresInARow()

    def add(self, outcome: Outcome[EmbedTask | RenewTask, DoneMark | None]) -> None:
        """Note how a shard ended.

        Raises:
            CuratorError: so many in a row failed alike that it is not for the shards.
        """
        error, task = outcome.error, outcome.task.payload
        if error is None:
            self._read = task.source
            self.unreadable.pop(task.part, None)
        elif isinstance(error, UnreadableShard) and error.fault is not Fault.TRANSIENT:
            self.unreadable[task.part] = str(error)
            self._unreadable.append(error)
            self._reporter.warn(f"cannot read {error}; it will be tried again on the next run")
        elif kills_workers(outcome):
            self._add_killer(task, error)
        else:
            self._failures.append(error)
        if self._in_a_row.add(outcome):
            self._stop_unless_single(error)

    def _add_killer(self, task: EmbedTask | RenewTask, error: Exception) -> None:
        why = f"{task.source.name} kills its workers: {error}"
        if self._give_up:
            self.unreadable[task.part] = why
            self._reporter.warn(f"{why}; it is given up, and will be tried again on the next run")
        else:
            self._killers.append((task.source.name, error))

    def end(self) -> dict[int, str]:
        """What could not be read, when all others are done.

        Raises:
            UnusableInput: nothing could be read at all, since access was denied.
            CuratorError: shards failed in a way that is no damage of theirs, or what was read before cannot be read
                any more. What was finished is kept.
        """
        if self._unreadable:
            self._check_store()
        if self._failures:
            others = len(self._failures) - 1 + len(self._killers)
            more = f" (and {counted(others, 'other shard')} failed)" if others else ""
            raise CuratorError(f"{self._name}: {self._failures[0]}{more}") from self._failures[0]
        if self._killers:
            names = ", ".join(name for name, _ in self._killers[:NAMED]) + (
                ", ..." if len(self._killers) > NAMED else ""
            )
            count, error = len(self._killers), self._killers[-1][1]
            shards = "1 shard kills its workers" if count == 1 else f"{count} shards kill their workers"
            raise CuratorError(
                f"{self._name}: {shards}, all else is done: {names}; the last: {error}",
                advice=Use("give_up_shards", True),
            ) from error
        return self.unreadable

    def _stop_unless_single(self, error: Exception | None) -> None:
        if isinstance(error, UnreadableShard):
            self._check_store()
            if self._read is not None:
                return
        raise CuratorError(
            f"{self._name}: {FailuresInARow.LIMIT} shards in a row failed alike, the last: {error}",
            advice="run again to go on, once that is mended",
        ) from error

    def _check_store(self) -> None:
        """Read again from a shard that could be read before."""
        denied = next((error for error in self._unreadable if error.fault is Fault.DENIED), None)
        if self._read is None and denied is not None:
            raise UnusableInput(
                f"{self._name}: nothing could be read yet: {denied}",
                advice="check that it is readable with the credentials that are set",
            )
        if self._read is not None and (why := _why_unreadable(self._read)):
            number = len(self._unreadable)
            raise CuratorError(
                f"{self._name}: {self._read.name}, which was read before, cannot be read any more ({why}), so it is "
                f"not for the {number} others that could not be read either",
                advice="check the store, renew the credentials if they ran out, and run again to go on",
            )


def _why_unreadable(source: Source) -> str:
    try:
        if source.kind == "folder":
            storage.is_directory(source.url)
        else:
            storage.read_range(source.url, 0, 512)
    except OSError as error:
        return public_text(reason_of(error))
    return ""
