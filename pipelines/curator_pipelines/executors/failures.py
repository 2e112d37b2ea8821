"""How errors of workers reach the driver, and what the driver says about lost workers of any kind.

Pickling an exception is not safe: many pickle without complaint and fail when they are unpickled. So an exception
travels as bytes, beside the text that a person needs, and the driver unpickles it if it can.
"""

import pickle
import traceback
from dataclasses import dataclass

from curator.errors import CuratorError
from curator_pipelines.executors.protocol import Task

__all__ = ["Failure", "dead_at_start", "given_up"]


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


def given_up(task: Task[object], cause: str, advice: str) -> CuratorError:
    """Return the error of a task that lost too many workers, the last one because of `cause`."""
    return CuratorError(f"{task}: given up after {task.attempt} workers died of it, the last by {cause}", advice=advice)


def dead_at_start(deaths: int, cause: str, advice: str) -> CuratorError:
    """Return the error of a run whose workers die before they can take a task."""
    return CuratorError(f"{deaths} workers in a row died while they started, the last by {cause}", advice=advice)
