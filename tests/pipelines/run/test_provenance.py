"""What run.json keeps of who made a run."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from curator_pipelines.run import RunDirectory, called_as
from curator_pipelines.run.run_record import KEPT_CALLS

ROOT = Path(__file__).parents[3]


def call(out: Path, stage: str = "pool", redo: str | None = None, **state: Any) -> dict[str, Any]:
    run = RunDirectory(str(out))
    run.start({}, redo)
    with run.stage(stage) as noted:
        noted |= state
    record: dict[str, Any] = json.loads((out / "run.json").read_text())
    return record


def test_who_when_and_with_what(tmp_path: Path) -> None:
    with called_as(["curator", "embed", "--pool=x=https://me:SECRET@h/a b.tar?api_key=SECRET::http://h/c?k=SECRET"]):
        record = call(tmp_path)
    (made,) = record["calls"]
    assert made["command"] == "curator embed '--pool=x=https://h/a b.tar::http://h/c'"
    assert "SECRET" not in json.dumps(record)
    assert made["host"] == socket.gethostname()
    assert set(made["stages"]) == {"pool"}
    assert {"ray", "faiss", "lightly", "torch", "python"} <= set(record["versions"])
    assert record["versions"]["ray"] != "missing"


def test_the_commit_of_a_checkout(tmp_path: Path) -> None:
    (made,) = call(tmp_path)["calls"]
    words = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    head = subprocess.run(words, capture_output=True, text=True, check=False)
    if head.returncode:
        assert made["commit"] is None
    else:
        assert made["commit"].removesuffix("-dirty") == head.stdout.strip()


def test_a_program_that_imports_curator_keeps_its_arguments(tmp_path: Path) -> None:
    assert call(tmp_path)["calls"][0]["command"] is None


def test_the_first_timings_stay(tmp_path: Path) -> None:
    first = call(tmp_path, embedded=5)["stages"]["pool"]
    again = call(tmp_path, embedded=5, reused=True)
    assert again["stages"]["pool"] == first
    assert len(again["calls"]) == 2
    anew = call(tmp_path, embedded=6, reused=False)["stages"]["pool"]
    assert anew["embedded"] == 6
    assert call(tmp_path, redo="pool", embedded=7, reused=True)["stages"]["pool"]["embedded"] == 7


def test_a_stopped_stage_is_timed_when_it_is_done(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        with_stop(tmp_path)
    assert call(tmp_path, embedded=5, reused=True)["stages"]["pool"]["embedded"] == 5


def with_stop(out: Path) -> None:
    run = RunDirectory(str(out))
    run.start({}, None)
    with run.stage("pool"):
        raise KeyboardInterrupt


def test_the_first_call_and_the_last_ones(tmp_path: Path) -> None:
    for number in range(KEPT_CALLS + 3):
        with called_as([str(number)]):
            record = call(tmp_path)
    kept = [made["command"] for made in record["calls"]]
    assert kept == ["0", *map(str, range(4, KEPT_CALLS + 3))]
