"""deploy/retry.sh as the image runs it: what it runs again, how often, and that stopping it stops the command."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

RETRY = Path(__file__).parents[2] / "deploy" / "retry.sh"


def start(folder: Path, script: str, retries: int = 2) -> subprocess.Popen[str]:
    """The script, running `script`, which writes a line to `folder/attempts` each time."""
    environment = os.environ | {"CURATOR_RETRIES": str(retries), "CURATOR_RETRY_SECONDS": "0"}
    command = ["bash", str(RETRY), "bash", "-c", f"echo attempt >> attempts; {script}"]
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stderr=subprocess.PIPE, start_new_session=True
    )


def attempts(folder: Path) -> int:
    path = folder / "attempts"
    return len(path.read_text().splitlines()) if path.exists() else 0


def wait_until_started(folder: Path) -> None:
    end = time.monotonic() + 60
    while attempts(folder) == 0:
        assert time.monotonic() < end
        time.sleep(0.02)
    time.sleep(0.2)  # the command installs its handler after its first line


@pytest.mark.parametrize(("code", "times"), [(0, 1), (1, 3), (2, 1), (3, 1), (130, 3), (137, 1), (143, 1)])
def test_only_what_may_help_is_tried_again(tmp_path: Path, code: int, times: int) -> None:
    process = start(tmp_path, f"exit {code}")
    _, errors = process.communicate()
    assert process.returncode == code
    assert attempts(tmp_path) == times
    assert errors.count(f"exit code {code}") == (3 if times == 3 else 0)


def test_a_success_after_failures_is_a_success(tmp_path: Path) -> None:
    process = start(tmp_path, "[ $(wc -l < attempts) = 3 ] || exit 1")
    process.communicate()
    assert (process.returncode, attempts(tmp_path)) == (0, 3)


def test_a_stop_of_the_whole_job_reaches_the_command_once_and_is_not_tried_again(tmp_path: Path) -> None:
    process = start(tmp_path, "trap 'echo stopped >> attempts; sleep 7; exit 130' TERM; while :; do sleep 0.1; done")
    wait_until_started(tmp_path)
    os.killpg(process.pid, signal.SIGTERM)  # as Ray does
    process.communicate()
    assert process.returncode == 130
    assert (tmp_path / "attempts").read_text().splitlines() == ["attempt", "stopped"]


@pytest.mark.slow  # the script waits whether the command was told, too
def test_a_stop_of_the_script_alone_stops_the_command(tmp_path: Path) -> None:
    process = start(tmp_path, "trap 'exit 130' TERM; while :; do sleep 0.1; done")
    wait_until_started(tmp_path)
    process.terminate()
    process.terminate()
    process.communicate()
    assert (process.returncode, attempts(tmp_path)) == (130, 1)
