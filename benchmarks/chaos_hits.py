"""Start a command in a process group of its own, and kill one of its processes in the middle of a stage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from benchmarks.run_files import Out

__all__ = ["Command", "finish", "hit", "start"]

HANG_SECONDS = 900
LOOK_SECONDS = 0.02
# Processes that are to be hit may begin later than their stage: Ray takes its time to start actors.
PATIENCE_SECONDS = 60
# How a process of each kind is called.
MARKS = {"rank": "jobs.train.train_rank", "worker": "spawn_main", "actor": "ray::Ray", "raylet": "raylet/raylet"}


@dataclass(frozen=True)
class Command:
    """A command line of curator, and what its environment has beside ours."""

    flags: tuple[str, ...]
    environment: dict[str, str]

    def plus(self, *flags: str) -> Command:
        """With more flags."""
        return replace(self, flags=(*self.flags, *flags))

    def resumed(self, out: Out) -> Command:
        """As it is given again after it was killed: a training goes on from a checkpoint if it is told to."""
        return self.plus("--resume") if "checkpoint.pt" in out.listed() else self


@dataclass(frozen=True)
class Running:
    """A command that was started: its driver, and a file of what it says."""

    process: subprocess.Popen[bytes]
    said: IO[bytes]


def start(command: Command) -> Running:
    """Run a command in a process group of its own."""
    said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `finish`
    process = subprocess.Popen(
        [sys.executable, "-m", "curator_pipelines", *command.flags],
        stdout=subprocess.DEVNULL,
        stderr=said,
        start_new_session=True,
        env=os.environ | command.environment,
    )
    return Running(process, said)


def finish(running: Running) -> int:
    """Wait for the end of a command and of all that it started; one that hangs is ended."""
    try:
        running.process.wait(HANG_SECONDS)
    except subprocess.TimeoutExpired:
        print(f"  it hung for {HANG_SECONDS} seconds", file=sys.stderr, flush=True)
    with suppress(ProcessLookupError):
        os.killpg(running.process.pid, signal.SIGKILL)
    code = running.process.wait()
    with running.said as file:
        file.seek(0)
        told = file.read().decode(errors="replace")
    if code not in (0, -signal.SIGKILL):
        print(f"  exit code {code}: {told.strip().splitlines()[-1:]}", file=sys.stderr, flush=True)
    if "Traceback (most recent call last)" in told:
        print(told[-3000:], file=sys.stderr, flush=True)
    return code


def hit(command: Command, kind: str, stage: str, out: Out, seconds: float) -> bool:
    """Kill one process of a kind some seconds after a stage began; False if the stage was over too soon.

    Args:
        command: runs, and is waited for.
        kind: of the process: `driver`, or one of `MARKS`.
        stage: of run.json; empty for any time after the command first changed a file of OUT.
        out: its run directory.
        seconds: to wait.
    """
    before = out.running()[1] if stage else _files(out)
    running = start(command)
    driver = running.process
    while not _has_begun(out, stage, before):
        if driver.poll() is not None:
            finish(running)
            return False
        time.sleep(LOOK_SECONDS)
    time.sleep(seconds)
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        if driver.poll() is not None or (stage and out.running()[0] != stage):
            break
        ours = processes(driver.pid)
        if victims := ours[kind]:
            with suppress(ProcessLookupError):
                os.kill(victims[len(victims) // 2], signal.SIGKILL)
                finish(running)
                wait_for_end([pid for pids in ours.values() for pid in pids])
                return True
        time.sleep(LOOK_SECONDS)
    finish(running)
    return False


def _has_begun(out: Out, stage: str, before: object) -> bool:
    if not stage:
        return _files(out) != before
    name, written = out.running()
    return name == stage and written != before


def _files(out: Out) -> dict[str, Any]:
    """What a run changes when it does something; not what says that it is there."""
    told = ("owner.json", "progress.json", "run.json")
    return {name: state for name, state in out.listed().items() if name not in told and not name.startswith("events/")}


def processes(driver: int) -> dict[str, list[int]]:
    """Our processes below a driver, by kind."""
    found: dict[str, list[int]] = {"driver": [driver]} | {kind: [] for kind in MARKS}
    todo = [driver]
    while todo:
        for path in Path(f"/proc/{todo.pop()}/task").glob("*/children"):
            with suppress(OSError):
                for pid in map(int, path.read_text().split()):
                    todo.append(pid)
                    line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                    kind = next((kind for kind, mark in MARKS.items() if mark in line.split(" --")[0][:200]), None)
                    if kind:
                        found[kind].append(pid)
    return found


def wait_for_end(pids: list[int]) -> None:
    """Ray's actors outlive a killed driver for a moment, and would write into folders that are removed next."""
    deadline = time.monotonic() + HANG_SECONDS
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
