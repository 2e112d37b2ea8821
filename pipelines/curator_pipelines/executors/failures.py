"""How errors of workers reach the driver, and what the driver says about lost workers of any kind.

Pickling an exception is not safe: many pickle without complaint and fail when they are unpickled. So an exception
travels as bytes, beside the text that a person needs, and the driver unpickles it if it can.
"""

import pickle
import re
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from curator.errors import CuratorError, UnusableInput
from curator_pipelines.executors.protocol import Outcome, Task

__all__ = ["Failure", "FailuresInARow", "are_alike", "cannot_open", "dead_at_start", "given_up", "summary_of"]

# Numbers and addresses in messages: they differ where the failure is the same.
NUMBER = re.compile(r"0x[0-9a-f]+|\d+")


@dataclass(frozen=True)
class Failure:
    """An exception that always pickles.

    Attributes:
        pickled: the exception; empty if it does not pickle.
        summary: its type and message.
        trace: the worker's traceback, which pickling drops.
    """

    pickled: bytes
    summary: str
    trace: str

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """Wrap an exception that was just caught in a worker."""
        try:
            pickled = pickle.dumps(error)
        except Exception:
            pickled = b""
        summary = traceback.format_exception_only(error)[0].strip()
        return cls(pickled, summary, "".join(traceback.format_exception(error)))

    def revive(self) -> Exception:
        """Return the exception, or else a `CuratorError` that names it, with the worker's traceback as a note."""
        error = self._unpickle()
        error.add_note(f"In the worker:\n{self.trace.rstrip()}")
        return error

    def _unpickle(self) -> Exception:
        # SystemExit and KeyboardInterrupt end only a task; raised on the driver they would end the run.
        try:
            error = pickle.loads(self.pickled)
        except Exception:
            error = None
        return error if isinstance(error, Exception) else CuratorError(self.summary)


def given_up(task: Task[object], cause: str, advice: str, *, nodes: bool = False) -> CuratorError:
    """Return the error of a task that lost too many workers, or nodes, the last one because of `cause`."""
    ends = f"{task.node_losses} nodes were lost in it" if nodes else f"{task.attempt} workers died of it"
    return CuratorError(f"{task}: given up after {ends}, the last by {cause}", advice=advice)


def dead_at_start(deaths: int, cause: str, advice: str) -> CuratorError:
    """Return the error of a place where workers die before they can take a task."""
    workers = "a worker" if deaths == 1 else f"{deaths} workers in a row"
    return CuratorError(f"{workers} died while they started, the last by {cause}", advice=advice)


def are_alike(error: Exception, other: Exception) -> bool:
    """True if two workers or tasks failed in the same way, whatever the numbers and names in what they say."""

    def kind_of(error: Exception) -> str:
        return getattr(error, "why", "") or NUMBER.sub("#", summary_of(error))

    return kind_of(error) == kind_of(other)


class FailuresInARow:
    """Counts tasks that fail alike, one after the other: then it is not for the tasks.

    Attributes:
        LIMIT: so many are enough.
    """

    LIMIT = 10

    def __init__(self) -> None:
        self._last: Exception | None = None
        self._count = 0

    def add(self, outcome: Outcome[Any, Any]) -> bool:
        """Note how a task ended; True at every `LIMIT`-th in a row. Tasks that killed their workers count as none."""
        if outcome.lost:
            return False
        if outcome.error is None:
            self._last, self._count = None, 0
            return False
        is_alike = self._last is not None and are_alike(self._last, outcome.error)
        self._last, self._count = outcome.error, self._count + 1 if is_alike else 1
        return self._count % self.LIMIT == 0


def summary_of(error: Exception) -> str:
    """An error on one line, for people."""
    text = " ".join(str(error).split())
    return text if isinstance(error, CuratorError) else f"{type(error).__name__}: {text}".rstrip(": ")


def cannot_open(errors: Sequence[Exception], is_any_finished: bool) -> CuratorError:
    """The error of a run whose workers cannot work. What was done before is kept, so then running again resumes.

    Args:
        errors: of the workers that are out, the last one deciding.
        is_any_finished: whether a task was finished.
    """
    last = errors[-1]
    workers = "a worker" if len(errors) == 1 else f"{len(errors)} workers"
    error: CuratorError
    if isinstance(last, CuratorError) and last.exit_code == (1 if is_any_finished else 2):
        return last
    if isinstance(last, CuratorError):
        kind = CuratorError if is_any_finished else UnusableInput
        error = kind(last.message, field=last.field, value=last.value, advice=last.advice)
    elif is_any_finished:
        error = CuratorError(f"{workers} cannot work, and none is left: {summary_of(last)}")
    else:
        error = UnusableInput(f"{workers} cannot begin to work: {summary_of(last)}")
    for note in getattr(last, "__notes__", ()):
        error.add_note(note)
    error.__cause__ = last
    return error
