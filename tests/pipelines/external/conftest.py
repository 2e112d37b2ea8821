from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
# Worker processes find `external_for_tests` by it, which pytest's import mode would hide.
sys.path.insert(0, str(HERE))

import external_for_tests  # noqa: E402
from external_for_tests import Start  # noqa: E402


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    def give_up(number: int, frame: FrameType | None) -> None:
        pytest.fail("the test hangs")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(900)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def short_lapses(monkeypatch: pytest.MonkeyPatch) -> None:
    from curator.io import claim
    from curator_pipelines.external import documents, executor

    monkeypatch.setattr(claim, "LAPSE_SECONDS", 6.0)
    monkeypatch.setattr(executor, "LAPSE_SECONDS", 6.0)
    monkeypatch.setattr(executor, "LOOK_SECONDS", 0.2)
    monkeypatch.setitem(documents.STAGES, external_for_tests.ToldStage, None)
    monkeypatch.setitem(documents._BY_NAME, "ToldStage", external_for_tests.ToldStage)


@pytest.fixture(params=["disk", "s3"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A run directory, on a disk or in a store."""
    return str(tmp_path / "run") if request.param == "disk" else request.getfixturevalue("s3_bucket") + "/run"


@pytest.fixture
def worker_of(tmp_path: Path) -> Iterator[Start]:
    """Starts a worker of a run directory, on a host of this name; all are ended with the test."""
    workers: list[subprocess.Popen[str]] = []

    def start(out: str, host: str = "host-1", *flags: str) -> subprocess.Popen[str]:
        paths = [str(path) for path in (HERE, ROOT, ROOT / "pipelines", ROOT / "ssl")]
        environment = {"PYTHONPATH": os.pathsep.join(paths), "TEST_HOST": host, "TEST_LAPSE": "6"}
        with open(tmp_path / f"worker-{len(workers)}.log", "w") as log:
            workers.append(
                subprocess.Popen(
                    [sys.executable, str(HERE / "external_for_tests.py"), "work", out, "--idle-exit", "60s", *flags],
                    env=os.environ | environment,
                    stderr=log,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()
        worker.wait()
        assert worker.stdout is not None
        worker.stdout.close()


@pytest.fixture
def start_worker(out: str, worker_of: Start) -> Start:
    """The same for the run directory of the test."""
    return functools.partial(worker_of, out)
