"""The executor of external workers: the driver posts tasks below OUT/external, whoever comes does them.

Behind the dispatcher's interface a worker is a place for one posted task. How many there are follows those who claim:
as many tasks wait as are worked on, and a few at least, so that who comes finds something to do. What a claim that
lapses costs a task is the dispatcher's to say, as of any lost worker. A claim that is given back costs nothing: the
task is posted still.
"""

from __future__ import annotations

import logging
import pickle
import time
import uuid
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

from curator.errors import CuratorError, InputError, UnusableInput
from curator.io import LAPSE_SECONDS, Stat, can_put_if, storage
from curator.types import Progress
from curator_pipelines.executors import (
    MAX_DEATHS_AT_START,
    Executor,
    Kind,
    Loss,
    Outcome,
    Stage,
    Task,
    WorkerHandle,
    are_alike,
    as_tasks,
    cannot_open,
    dispatch,
    encode,
    summary_of,
)
from curator_pipelines.external.answers import error_of, message_of
from curator_pipelines.external.documents import STAGES
from curator_pipelines.external.stage_folder import STAGE, StageFolder

__all__ = ["ExternalExecutor"]

# Tasks that wait to be claimed, at least. Work is cut for so many workers, since nobody knows how many will come.
SPARE = 16
# Seconds between two looks at a stage: a look is one request to a store.
LOOK_SECONDS, LOOK_SECONDS_DISK = 1.0, 0.2
# What a place is called for people.
CLAIMED, UNCLAIMED = "an external worker", "waiting for an external worker"
# Seconds after which it is said again that nobody works.
REMIND_SECONDS = 60.0

T = TypeVar("T")
R = TypeVar("R")

_log = logging.getLogger(__name__)


class ExternalExecutor:
    """Lets external workers run the stages that they know, and another executor all others.

    Args:
        out: the run directory, which this process owns.
        beside: runs what external workers do not.

    Attributes:
        workers: for how many workers work is cut: nobody knows how many will come.
        beside: as given.

    Raises:
        InputError: the store of OUT cannot write on a condition.
    """

    workers = SPARE

    def __init__(self, out: str, beside: Executor) -> None:
        if not can_put_if(out):
            raise InputError(
                "external workers claim tasks by conditional writes, which this store has not",
                field="workers",
                value="external",
                advice="give an OUT on a shared disk, s3://, gs:// or az://",
            )
        self._out = out
        self.beside = beside

    def describe(self) -> str:
        """Say for people where the work runs."""
        return (
            f"external workers, started by 'curator work {self._out}'; what they do not do on {self.beside.describe()}"
        )

    def map(
        self, stage: Stage[T, R], tasks: Iterable[T | Task[T]], *, on_progress: Progress | None = None
    ) -> Generator[Outcome[T, R], None, None]:
        """Run `stage` over `tasks`; see `Executor.map`."""
        if type(stage) not in STAGES:
            yield from self.beside.map(stage, tasks, on_progress=on_progress)
            return
        numbered = as_tasks(tasks)
        first = next(numbered, None)
        if first is None:
            return  # as elsewhere, no task means that nothing is opened
        folder = StageFolder(self._out, f"{STAGES[type(stage)]}-{uuid.uuid4().hex[:12]}")
        places = _Places(folder)
        try:
            folder.open(stage)
            yield from dispatch(places, chain([first], numbered), on_progress)
        finally:
            folder.close()


class _Place(WorkerHandle):
    """A place for one posted task.

    Attributes:
        name: of the files of the task that it holds.
    """

    def __init__(self, folder: StageFolder) -> None:
        super().__init__("", UNCLAIMED)
        self.name = ""
        self._folder = folder

    def give(self, pickled_task: bytes) -> None:
        """Post a task."""
        task = pickle.loads(pickled_task)  # of this process
        self.name = f"{task.number:08d}-{task.attempt}"
        self._folder.post(self.name, task.payload)

    def kill(self) -> None:
        """End the claim on the task, if there is one."""
        if self.task is not None:
            self._folder.end(self.name)


@dataclass
class _Seen:
    """A claim as it was when it was last seen to change, and when that was by our clock."""

    state: Stat
    since: float


class _Places:
    """The places of one stage: the dispatcher's backend."""

    def __init__(self, folder: StageFolder) -> None:
        self._folder = folder
        self._claims: dict[str, _Seen] = {}
        self._is_any_answered = False
        self._failed: dict[str, tuple[str, Exception]] = {}
        self._last_worked = time.monotonic()
        self._look_seconds = LOOK_SECONDS_DISK if storage.is_local(folder.url) else LOOK_SECONDS
        self._threads = ThreadPoolExecutor(storage.REMOTE_THREADS, "answers")

    @property
    def workers(self) -> int:
        return len(self._claims) + max(SPARE, len(self._claims))

    def start(self, workers: Sequence[_Place]) -> _Place | None:
        return _Place(self._folder) if len(workers) < self.workers else None

    def listen(self, workers: Sequence[_Place]) -> Iterator[tuple[_Place, bytes | Loss]]:
        if fresh := [worker for worker in workers if not worker.is_open]:
            # Nobody need be waited for to post a task.
            yield from ((worker, bytes(encode(Kind.READY))) for worker in fresh)
            return
        time.sleep(self._look_seconds)
        files = self._folder.listing()
        if STAGE not in files:
            raise CuratorError(f"{self._folder.url} was removed: another run has taken over; what is finished is kept")
        by_name = {worker.name: worker for worker in workers if worker.task is not None}
        self._note_failures(files)
        answered = [name for name in by_name if f"results/{name}" in files]
        for name, worker in by_name.items():
            worker.place = CLAIMED if f"claims/{name}" in files else UNCLAIMED
        self._look_at_claims({name: files.get(f"claims/{name}") for name in by_name if name not in answered})
        answers = list(self._threads.map(self._folder.read_answer, answered))
        # Before they are heard: what is heard gives the place another task.
        self._folder.remove(answered)
        for name, answer in zip(answered, answers, strict=True):
            self._is_any_answered = True
            yield by_name[name], bytes(encode(Kind.PROGRESS, Counter(answer.get("reported") or {})))
            yield by_name[name], message_of(answer, self._folder.documents)
        for name in self._lapsed():
            del self._claims[name]
            cause = f"its claim was not renewed for {LAPSE_SECONDS:.0f} s"
            yield by_name[name], Loss(cause, "the worker was killed, or its machine cannot reach OUT")

    def _look_at_claims(self, states: dict[str, Stat | None]) -> None:
        """Note which claims there are and which are newer than before."""
        now = time.monotonic()
        held = {name: state for name, state in states.items() if state is not None}
        self._claims = {
            name: seen if (seen := self._claims.get(name)) and seen.state == state else _Seen(state, now)
            for name, state in held.items()
        }
        if held or not states:
            self._last_worked = now
        elif now - self._last_worked > REMIND_SECONDS:
            self._last_worked = now
            _log.warning("nobody works on %s: start workers by 'curator work'", self._folder.url)

    def _lapsed(self) -> list[str]:
        now = time.monotonic()
        return [name for name, seen in self._claims.items() if now - seen.since > LAPSE_SECONDS]

    def _note_failures(self, files: dict[str, Stat]) -> None:
        """Hear of workers that cannot do this stage.

        Raises:
            CuratorError: those of two machines fail alike, or several of one while nobody else works.
        """
        for name in files:
            if not name.startswith("failed/") or name in self._failed:
                continue
            record = self._folder.read_failure(name)
            host = str(record.get("host", "an unknown machine"))
            try:
                error = error_of(record["error"], self._folder.documents)
                error.add_note(f"In the worker:\n{record['error']['trace'].rstrip()}")
            except (UnusableInput, LookupError, TypeError, ValueError, AttributeError) as fault:
                error = CuratorError(f"what it says of itself cannot be read ({fault})")
            _log.warning("a worker on %s cannot work and has ended: %s", host, summary_of(error))
            self._failed[name] = host, error
            alike = [host for host, other in self._failed.values() if are_alike(other, error)]
            is_working = self._is_any_answered or bool(self._claims)
            if len(set(alike)) > 1 or (len(alike) >= MAX_DEATHS_AT_START and not is_working):
                raise cannot_open([error for _, error in self._failed.values()], self._is_any_answered)

    def dismiss(self, workers: Sequence[_Place]) -> None:
        pass  # the stage is closed next

    def kill(self, workers: Sequence[_Place]) -> None:
        self._threads.shutdown()
