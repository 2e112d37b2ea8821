"""Submission to a real head with token authentication."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jobs_for_tests import ROOT, assert_same_bytes, driver, flags, until

pytestmark = pytest.mark.slow

TOKEN = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def head(s3_environment: dict[str, str]) -> Iterator[str]:
    """URL of the dashboard of a head that wants `TOKEN`."""
    folder = tempfile.mkdtemp(prefix="ray-")
    paths = os.pathsep.join(str(ROOT / name) for name in ("", "pipelines", "ssl"))
    python = str(Path(sys.executable).parent)
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "head_for_tests.py"), folder],
        env=os.environ
        | s3_environment
        | {"PYTHONPATH": paths, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
        | {"PATH": python + os.pathsep + os.environ["PATH"]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.stdin.close()
    process.stdout.close()
    process.wait()
    shutil.rmtree(folder, ignore_errors=True)


def submit(head: str, *words: str, token: str = TOKEN, options: tuple[str, ...] = ()) -> tuple[int, str]:
    words = ("submit", "--address", head, *options, "--", *words)
    with driver(list(words), RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token) as started:
        return started.wait(200)  # the job's own workers have to start too


def test_the_whole_job(head: str, settings: dict[str, Any], reference: Path, s3_bucket: str) -> None:
    code, error = submit(head, "select", *flags(out=f"{s3_bucket}/run", **settings))

    assert code == 0, error
    assert_same_bytes(f"{s3_bucket}/run", str(reference))


def test_bad_input(head: str, settings: dict[str, Any], tmp_path: Path) -> None:
    code, error = submit(head, "select", *flags(out=tmp_path / "run", **settings | {"pool": ["/no/such.tar"]}))

    assert code == 2, error


def test_a_wrong_token(head: str) -> None:
    code, error = submit(head, "inspect", "/no/such.tar", token="f" * 64)

    assert code == 2
    assert "does not accept the token" in error
    assert "Traceback" not in error
    assert len(error.splitlines()) == 1


def test_no_job_server() -> None:
    code, error = submit("http://127.0.0.1:9", "inspect", "/no/such.tar")

    assert code == 2
    assert "no job server at http://127.0.0.1:9" in error
    assert len(error.splitlines()) == 1


def test_without_waiting(head: str) -> None:
    code, error = submit(head, "inspect", "/no/such.tar", options=("--no-wait",))

    assert code == 0
    assert "ray job logs --follow" in error


def test_ctrl_c_without_a_terminal_leaves_the_job(
    head: str, settings: dict[str, Any], reference: Path, s3_bucket: str
) -> None:
    from curator import storage

    words = ["submit", "--address", head, "--", "select", *flags(out=f"{s3_bucket}/run", **settings)]
    with driver(words, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN) as started:
        until(lambda: storage.exists(f"{s3_bucket}/run/run.json"), "the job has begun")
        started.signal_group(signal.SIGINT)
        code, error = started.wait()

    assert code == 130
    assert "goes on" in error
    deadline = time.monotonic() + 120
    while not storage.exists(f"{s3_bucket}/run/shards/sizes.json") and time.monotonic() < deadline:
        time.sleep(0.5)
    assert storage.exists(f"{s3_bucket}/run/shards/sizes.json")
