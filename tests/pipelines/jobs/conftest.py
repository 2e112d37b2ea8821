import functools
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

# Spawned workers take over sys.path, so they find `jobs_for_tests`, which
# pytest's import mode would hide from them.
sys.path.insert(0, str(Path(__file__).parent))

from jobs_for_tests import ENCODER, CountsTasks, ShardServer, write_data

from curator_pipelines.config.select import SelectConfig, build
from curator_pipelines.executors import Executor, InProcessExecutor
from curator_pipelines.jobs.measure import choice
from curator_pipelines.jobs.select import pack, prepare, select_run as select
from curator_pipelines.jobs.select.summary import SelectSummary
from curator_pipelines.run.progress import Reporter

Run = Callable[..., SelectSummary]


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    def give_up(number: int, frame: FrameType | None) -> None:
        pytest.fail("the test hangs")  # not an OSError, which the code under test may well catch

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(240)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def run_with(executor: Executor | None, **settings: Any) -> SelectSummary:
    """`curator select` in this process; None for the executor that the command itself would take.

    Without a report, unless it is asked for: it takes a second, and few tests are about it.
    """
    settings = {"report": False} | settings
    with pytest.MonkeyPatch.context() as patch:
        if executor is not None:
            patch.setattr(prepare, "make_executor", lambda *arguments, **named: executor)
            patch.setattr(pack, "make_executor", lambda *arguments, **named: executor)
            patch.setattr(choice, "make_executor", lambda *arguments, **named: executor)
        return select.run_select(build(SelectConfig, settings), Reporter())


@pytest.fixture(scope="session")
def run_on() -> Run:
    """`run_on(executor, **settings)`."""
    return run_with


@pytest.fixture
def run() -> Run:
    """`curator select` in this process, in one thread."""
    return functools.partial(run_with, InProcessExecutor())


@pytest.fixture
def counted() -> Callable[..., CountsTasks]:
    """The same, and gives back what was embedded and packed."""

    def run_counted(**settings: Any) -> CountsTasks:
        executor = CountsTasks()
        run_with(executor, **settings)
        return executor

    return run_counted


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only: see `write_data`."""
    folder = tmp_path_factory.mktemp("data")
    write_data(folder)
    (folder / "deny.txt").write_text("# never these\n0005\n")
    return folder


@pytest.fixture
def own_data(tmp_path: Path) -> Path:
    """The same, for a test that changes it."""
    write_data(tmp_path / "data")
    return tmp_path / "data"


def settings_for(folder: str) -> dict[str, Any]:
    pool = [f"{folder}/pool-{number}.tar" for number in range(4)]
    return ENCODER | {"pool": pool, "clusters": 4, "budget": "21", "shard_size": 6, "max_bad": 0.05, "seed": 3}


@pytest.fixture(scope="session")
def settings(data: Path) -> dict[str, Any]:
    """Of the reference run, without `out`."""
    return settings_for(str(data)) | {"target": [str(data / "target")], "deny": str(data / "deny.txt")}


@pytest.fixture(scope="session")
def reference(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, in process; read only."""
    out = tmp_path_factory.mktemp("reference") / "run"
    run_with(InProcessExecutor(), out=str(out), **settings)
    return out


@pytest.fixture(scope="session")
def server(data: Path) -> Iterator[ShardServer]:
    """The pool by HTTP, to hold shards back or to let them fail."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        patch.setenv("no_proxy", "127.0.0.1,localhost")
        started = ShardServer(data)
        yield started
        started.close()


@pytest.fixture(scope="session")
def served(data: Path, server: ShardServer) -> dict[str, Any]:
    """As `settings`, with the pool by HTTP."""
    return settings_for(server.url) | {"target": [str(data / "target")], "deny": str(data / "deny.txt")}


@pytest.fixture(scope="session")
def served_reference(served: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished, uninterrupted run over the pool by HTTP; read only."""
    out = tmp_path_factory.mktemp("served") / "run"
    run_with(InProcessExecutor(), out=str(out), **served)
    return out
