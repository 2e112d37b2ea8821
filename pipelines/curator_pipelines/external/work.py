"""`curator work`: one external worker, started and ended at will."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from curator.encoders import ENCODERS
from curator.errors import CuratorError, InputError, UnusableInput, Use, counted
from curator.io import LAPSE_SECONDS, OWNER, TASKS, Claim, ClaimEnded, absolute, can_put_if, storage
from curator_pipelines.executors import Task, cannot_open
from curator_pipelines.external.answers import failure_of
from curator_pipelines.external.claimed import ClaimedTask
from curator_pipelines.external.documents import STAGES
from curator_pipelines.external.stage_folder import StageFolder, look
from curator_pipelines.external.worker_process import WorkerProcess
from curator_pipelines.stages import EmbedStage

__all__ = ["Worked", "work"]

# Seconds for which a listing of tasks is good: later most of them are claimed or done.
LISTING_SECONDS = 1.0
# Seconds between two looks for work where there is none, at first and at most.
FIRST_WAIT, MOST_WAIT = 0.5, 5.0
# Seconds between two looks whether there is a driver.
DRIVER_SECONDS = 2.0


@dataclass
class Worked:
    """What a worker did.

    Attributes:
        tasks: stage -> tasks that it answered.
        dropped: tasks whose claim ended before they were done.
        seconds: of its life.
    """

    tasks: Counter[str] = field(default_factory=Counter)
    dropped: int = 0
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {"tasks": dict(self.tasks), "dropped": self.dropped, "seconds": round(self.seconds, 3)}

    def to_text(self) -> str:
        """For a person."""
        each = ", ".join(f"{stage} {count:,}" for stage, count in sorted(self.tasks.items())) or "none"
        dropped = f"; {counted(self.dropped, 'task')} dropped, since the claim had ended" if self.dropped else ""
        return f"tasks       {each}{dropped}"


def work(out: str, *, device: str, idle_exit: float, encoders: Sequence[str], say: Callable[[str], None]) -> Worked:
    """Do tasks of a run directory until there is no driver any more.

    Args:
        out: the run directory.
        device: of models: `auto`, `cpu` or `cuda`.
        idle_exit: seconds without a driver and without a task after which it ends.
        encoders: of the user's own, which the driver may name. Code that is not curator's is never imported because
            a file in OUT says so.
        say: prints a line for people.

    Raises:
        InputError: the store of OUT cannot write on a condition.
        CuratorError: this machine cannot do what the driver asks for.
        KeyboardInterrupt: by a signal; the claim was given back.
    """
    out = absolute(out)
    if not can_put_if(out):
        raise InputError("tasks are claimed by conditional writes, which this store has not", field="out", value=out)
    worker = _Worker(out, device, encoders, say)
    try:
        return worker.run(idle_exit)
    except BaseException:
        # A second signal must not end this halfway.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
        raise
    finally:
        worker.leave()


class _Worker:
    def __init__(self, out: str, device: str, encoders: Sequence[str], say: Callable[[str], None]) -> None:
        self._out = out
        self._device = device
        self._encoders = encoders
        self._say = say
        self._me = {"host": socket.gethostname(), "pid": os.getpid(), "worker": uuid.uuid4().hex[:12]}
        self._worked = Worked()
        self._claim: Claim | None = None
        # The URL of a stage, what its stage.json holds, and the process that has opened it.
        self._open: tuple[str, bytes, WorkerProcess] | None = None
        self._random = random.Random()

    def run(self, idle_exit: float) -> Worked:
        """Work until nobody wants it any more."""
        started, driver, wait = time.monotonic(), _Driver(self._out), FIRST_WAIT
        self._say(f"looking for tasks in {self._out}")
        while driver.seconds_away() < idle_exit:
            if self._work_once():
                driver.came_by()
                wait = FIRST_WAIT
            else:
                # Jitter: workers that wait together should not look together.
                time.sleep(wait * self._random.uniform(0.5, 1.5))
                wait = min(MOST_WAIT, 1.5 * wait)
        self._worked.seconds = time.monotonic() - started
        return self._worked

    def leave(self) -> None:
        """End the process, and give back a task that was not answered."""
        if self._open is not None:
            self._open[2].kill()
        # A store that is out of reach hides no interrupt: the claim lapses.
        with contextlib.suppress(OSError):
            self._give_back()

    def _work_once(self) -> bool:
        """Look for tasks, and do some; False if there was none to have."""
        looked, is_any_done = time.monotonic(), False
        for name, files in look(self._out).items():
            # A result without a claim: of a worker that ended between the two.
            taken = {file.rpartition("/")[2] for file in files if file.startswith(("claims/", "results/"))}
            names = sorted({file.rpartition("/")[2] for file in files if file.startswith(f"{TASKS}/")} - taken)
            if not names:
                continue
            # In no order, so that workers that look at the same time do not want the same one.
            self._random.shuffle(names)
            folder = StageFolder(self._out, name)
            for task in names:
                is_any_done |= self._do(folder, name, task)
                if time.monotonic() - looked > LISTING_SECONDS:
                    return True
        return is_any_done

    def _do(self, folder: StageFolder, stage: str, name: str) -> bool:
        """Claim a task and do it; False if another was faster or the task is gone."""
        try:
            process = self._opened(folder)
            claim = self._claim = folder.claim(name, self._me | {"claim": uuid.uuid4().hex})
            if not claim.create():
                self._claim = None
                return False
            payload = folder.read_task(name)
        except FileNotFoundError:
            self._give_back()
            return False
        except UnusableInput as error:
            if self._claim is None:
                raise
            # Given back, it would end the next worker, too.
            folder.answer(name, failure_of(error, folder.documents))
            self._claim = None
            return True
        number, _, attempt = name.partition("-")
        task = Task(int(number), ClaimedTask(payload, claim), int(attempt))
        with claim.kept() as has_ended:
            answer = process.do(task, has_ended)
        if answer is not None and self._has_answered(folder, name, claim, answer):
            self._worked.tasks[stage.partition("-")[0]] += 1
        else:
            self._worked.dropped += 1
            self._say(f"{stage}: the claim on task {name} has ended, which is another's now")
        self._claim = None
        return True

    def _has_answered(self, folder: StageFolder, name: str, claim: Claim, answer: dict[str, Any]) -> bool:
        """Write the answer; False if the claim has ended."""
        if answer.get("error", {}).get("kind") == ClaimEnded.__name__:
            return False
        try:
            claim.check()
            folder.answer(name, answer)
        except (ClaimEnded, FileNotFoundError):
            return False
        return True

    def _give_back(self) -> None:
        if self._claim is not None:
            self._claim.give_back()
        self._claim = None

    def _opened(self, folder: StageFolder) -> WorkerProcess:
        """The process that has opened a stage: the one that is there, if the stage is written alike.

        Raises:
            FileNotFoundError: the stage is closed.
            CuratorError: this machine cannot do it.
        """
        url, written, process = self._open or ("", b"", None)
        if process is not None and process.is_alive and url == folder.url:
            return process
        try:
            now, stage = folder.read_stage()
        except UnusableInput as error:
            raise self._told(folder, error) from error
        if process is None or not process.is_alive or now != written:
            if process is not None:
                process.kill()
            self._say(f"opening {folder.url.rpartition('/')[2]}")
            try:
                process = WorkerProcess(self._accepted(stage), self._device, folder.documents)
            except Exception as error:
                raise self._told(folder, error) from error
        self._open = (folder.url, now, process)
        return process

    def _told(self, folder: StageFolder, error: Exception) -> CuratorError:
        """Tell the driver that this worker cannot do a stage; returns what ends it."""
        name = f"{self._me['host']}-{self._me['worker']}"
        folder.say_cannot(name, {"host": self._me["host"], **failure_of(error, folder.documents)})
        return cannot_open([error], bool(self._worked.tasks))

    def _accepted(self, stage: Any) -> Any:
        """The stage as this worker does it.

        Raises:
            UnusableInput: it asks for code that the user has not named.
        """
        if type(stage) not in STAGES:
            raise UnusableInput(f"{type(stage).__name__} is no stage")
        if not isinstance(stage, EmbedStage) or stage.encoder is None:
            return stage
        spec = stage.encoder.spec
        if not ENCODERS.locate(spec).is_builtin and spec not in self._encoders:
            raise UnusableInput(f"the driver asks for {spec}, which is not curator's", advice=Use("encoder", spec))
        # Where the driver found it is the driver's: here it is installed, or in the working directory.
        return replace(stage, encoder=replace(stage.encoder, plugin_folder=None))


class _Driver:
    """Whether there is a driver: whoever owns OUT renews owner.json as long as it lives."""

    def __init__(self, out: str) -> None:
        self._url = storage.join(out, OWNER)
        self._version = ""
        self._last_change = self._last_seen = self._last_look = time.monotonic()

    def came_by(self) -> None:
        """There was work."""
        self._last_seen = time.monotonic()

    def seconds_away(self) -> float:
        """For how long there has been none; asks the store now and then."""
        now = time.monotonic()
        if now - self._last_look > DRIVER_SECONDS:
            self._last_look = now
            with contextlib.suppress(FileNotFoundError):
                version = storage.stat(self._url).version
                if version != self._version:
                    self._version, self._last_change = version, now
                if now - self._last_change < LAPSE_SECONDS:
                    self._last_seen = now
        return now - self._last_seen
