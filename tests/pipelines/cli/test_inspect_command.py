"""`curator inspect` of a run: once, as a story, and again and again."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curator.io import owned
from curator_pipelines.cli import inspect_command
from curator_pipelines.run import Reporter, recorded, spending

Command = Callable[..., Any]


def test_events_of_a_finished_run(curator: Command, finished_data: Path) -> None:
    ran = curator("inspect", finished_data / "run", "--events")
    assert ran.code == 0
    assert "run_began: process " in ran.out and "stage_ended: pool done after " in ran.out
    assert ran.out.splitlines()[-1].endswith("run_ended: done")
    found = json.loads(curator("inspect", finished_data / "run", "--events", "--json").out)
    assert found["events"][-1]["facts"]["exit_code"] == 0


def test_watching_a_run_that_nobody_works_on_ends_at_once(curator: Command, finished_data: Path) -> None:
    ran = curator("inspect", finished_data / "run", "--watch")
    assert ran.code == 0
    assert "state       done" in ran.out


def test_watching_ends_with_the_run(curator: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect_command, "EVERY_LOCAL", 0.05)
    out, begun = str(tmp_path / "run"), threading.Event()

    def work() -> None:
        with owned(out) as owner, recorded(Reporter(quiet=True), out, owner), spending("pool"):
            begun.set()
            threading.Event().wait(1.0)

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    ran = curator("inspect", out, "--watch", "--json")
    thread.join()

    looks = [json.loads(line) for line in ran.out.splitlines()]
    assert len(looks) > 1
    assert looks[0]["state"] == "running" and looks[0]["progress"]["doing"] == "pool"
    assert looks[-1]["state"] == "done" and looks[-1]["holder"] == ""


@pytest.mark.parametrize("flags", [("--watch", "--events"), ("--bad", "--watch")])
def test_one_question_at_a_time(curator: Command, finished_data: Path, flags: tuple[str, str]) -> None:
    ran = curator("inspect", finished_data / "run", *flags)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert all(flag in ran.err for flag in flags)


def test_what_is_no_run_is_one_line(curator: Command, tmp_path: Path) -> None:
    for flag in ("--watch", "--events"):
        ran = curator("inspect", tmp_path, flag)
        assert (ran.code, ran.err.count("\n")) == (2, 1)
        assert "is no run directory" in ran.err
