"""Help without a command, tracebacks on request, and the time in logs."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curator_pipelines.cli.main import cli
from curator_pipelines.run import Reporter

Command = Callable[..., Any]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ")


def test_without_a_command_it_is_help(curator: Command) -> None:
    ran = curator()
    assert (ran.code, ran.err) == (0, "")
    assert "Usage: curator" in ran.out
    assert ran.out == curator("--help").out


@pytest.mark.parametrize("words", [("--debug", "inspect", "no.tar"), ("inspect", "no.tar", "--debug")])
def test_debug(curator: Command, words: tuple[str, ...]) -> None:
    ran = curator(*words)
    assert ran.code == 2
    assert "Traceback" in ran.err
    assert ran.err.splitlines()[-1].startswith("curator: ")
    assert "Traceback" not in curator(*(word for word in words if word != "--debug")).err


@pytest.mark.parametrize(("value", "shows"), [("1", True), ("0", False), ("", False)])
def test_the_variable(curator: Command, monkeypatch: pytest.MonkeyPatch, value: str, shows: bool) -> None:
    monkeypatch.setenv("CURATOR_DEBUG", value)
    assert ("Traceback" in curator("inspect", "no.tar").err) == shows


def test_a_traceback_tells_no_secret(curator: Command) -> None:
    ran = curator("--debug", "inspect", "s3://AKIAID:hunter2@bucket/a.tar")
    assert "Traceback" in ran.err
    assert "hunter2" not in ran.err


def test_what_nobody_foresaw(curator: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    command = cli.get_command(None, "verify")  # type: ignore[arg-type]
    monkeypatch.setattr(command, "callback", lambda **flags: {}["key"])
    ran = curator("verify", "run")
    assert ran.code == 1
    assert "KeyError" in ran.err
    assert ran.err.splitlines()[-1].startswith("curator: this is a fault of curator")


def test_lines_of_a_log_have_their_time(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter() as reporter, reporter.stage("pool", 2, "samples"):
        reporter.say("hello")
        reporter.warn("careful")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(TIME.match(line) for line in lines)
    assert lines[0].endswith("Z INFO    - hello")
    assert lines[1].endswith("Z WARNING - warning: careful")


def test_a_terminal_shows_no_times(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter() as reporter:
        reporter.console._force_terminal = True
        reporter.say("hello")
    assert capsys.readouterr().err == "hello\n"


def test_logs_of_libraries_have_their_time() -> None:
    program = "import logging; from curator_pipelines.cli.tell import show_logs; show_logs(); logging.warning('x')"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert TIME.sub("", ran.stderr) == "WARNING - x\n"
    assert ran.stderr != "WARNING - x\n"
    assert logging.getLogger().level >= logging.WARNING


@pytest.mark.parametrize(
    "words", [("--log-format", "json", "inspect", "no.tar"), ("inspect", "no.tar", "--log-format=json")]
)
def test_logs_as_json(curator: Command, words: tuple[str, ...]) -> None:
    ran = curator(*words)
    (record,) = map(json.loads, ran.err.splitlines())
    assert (ran.code, record["level"]) == (2, "ERROR")
    assert record["message"].startswith("curator: ")
    traced, told = map(json.loads, curator(*words, "--debug").err.splitlines())
    assert "Traceback" in traced["message"] and told["message"] == record["message"]
    # The next command begins anew.
    assert curator("inspect", "no.tar").err.startswith("curator: ")


def test_the_variable_of_the_form(curator: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATOR_LOG_FORMAT", "json")
    assert json.loads(curator("inspect", "no.tar").err)["level"] == "ERROR"
    assert curator("--log-format", "text", "inspect", "no.tar").err.startswith("curator: ")


def test_an_unknown_form_of_logs(curator: Command) -> None:
    ran = curator("--log-format", "xml", "inspect", "no.tar")
    assert ran.code == 2
    assert "xml" in ran.err and "json" in ran.err


FAILS = """
import sys
from curator_pipelines.cli.tell import show_logs
from curator_pipelines.executors import LocalExecutor
show_logs(debug=sys.argv[1] == "debug")
class Fails:
    def open(self, context):
        def fail(task):
            raise ValueError("deep inside")
        return fail
if __name__ == "__main__":
    list(LocalExecutor().map(Fails(), [1]))
"""


@pytest.mark.parametrize("how", ["debug", "usual"])
def test_tracebacks_of_workers(how: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(FAILS)
    ran = subprocess.run([sys.executable, tmp_path / "program.py", how], capture_output=True, text=True, check=True)
    assert ("In the worker:" in ran.stderr and "deep inside" in ran.stderr) == (how == "debug")


def test_parts_of_a_gpu(curator: Command, tmp_path: Path) -> None:
    words = ("select", "--target", "t", "--pool", "p", "--out", tmp_path / "run", "--gpus-per-worker")
    for value in ("1.5", "inf", "nan", "0"):
        ran = curator(*words, value)
        assert ran.code == 2
        assert f"--gpus-per-worker {value}" in ran.err
        assert ran.err.count("\n") == 1
