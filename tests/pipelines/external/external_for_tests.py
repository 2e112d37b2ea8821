"""A stage that external workers of the tests may run, and those workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curator.errors import Redo
from curator.io import Fault, storage
from curator.sources import UnreadableShard
from curator_pipelines.executors import Task, WorkerContext

Start = Callable[..., subprocess.Popen[str]]
PATIENCE = 120.0


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"still waiting for: {what}"
        time.sleep(0.02)


@dataclass(frozen=True)
class ToldStage:
    """Does what each task says.

    Attributes:
        folder: of this machine, where what happens leaves files.
        cannot: hosts that cannot open the stage.
    """

    folder: str
    cannot: tuple[str, ...] = ()

    def open(self, context: WorkerContext) -> Callable[[Task[Any]], Any]:
        if os.environ["TEST_HOST"] in self.cannot:
            raise RuntimeError("no such device")
        (Path(self.folder) / f"opened-{os.getpid()}").touch()

        def do(task: Task[Any]) -> Any:
            what, value = task.payload
            result = getattr(self, what)(value, task)
            context.report({"samples": 1})
            return result

        return do

    def square(self, value: int, task: Task[Any]) -> int:
        return value**2

    def attempt(self, value: int, task: Task[Any]) -> int:
        return task.attempt

    def crash(self, value: int, task: Task[Any]) -> int:
        if task.attempt < value:
            os.abort()
        return task.attempt

    def unreadable(self, value: str, task: Task[Any]) -> None:
        raise UnreadableShard(f"{value}: access denied", Fault.DENIED, "access denied")

    def fail(self, value: str, task: Task[Any]) -> None:
        raise ValueError(value)

    def advise(self, value: str, task: Task[Any]) -> None:
        from curator.errors import InputError

        raise InputError(value, field="pool", advice=(Redo("pool"), "look at it"))

    def wait(self, value: str, task: Task[Any]) -> int:
        """Until the test says so, unless it is the second time."""
        if task.attempt == 0:
            self.wait_always(value, task)
        return task.attempt

    def wait_always(self, value: str, task: Task[Any]) -> str:
        with open(Path(self.folder) / f"began-{value}", "a") as file:
            file.write(f"{os.getppid()}\n")
        while not (Path(self.folder) / f"go-{value}").exists():
            time.sleep(0.02)
        return value

    def write(self, value: list[str], task: Task[Any]) -> int:
        """After a wait, a file below OUT."""
        if task.attempt == 0:
            self.wait_always(value[0], task)
        storage.write_bytes(value[1], b"whole")
        return task.attempt


def register() -> None:
    from curator_pipelines.external import documents

    documents.STAGES[ToldStage] = None
    documents._BY_NAME["ToldStage"] = ToldStage


if __name__ == "__main__":
    from benchmarks.as_host import pretend

    pretend(os.environ["TEST_HOST"], flock="TEST_NO_FLOCK" not in os.environ, lapse=float(os.environ["TEST_LAPSE"]))
    sys.modules["external_for_tests"] = sys.modules["__main__"]
    ToldStage.__module__ = "external_for_tests"
    register()
    from curator_pipelines.__main__ import main

    main()
