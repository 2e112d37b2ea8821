"""Submission to a real head with token authentication."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jobs_for_tests import PATIENCE, ROOT, assert_same_bytes, copy_tree, driver, flags, until

from benchmarks.fault_proxy import FaultProxy

pytestmark = pytest.mark.slow

TOKEN = "0123456789abcdef" * 4


class Head:
    """A head with one other node, which wants `TOKEN`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.url = self._line()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self, word: str) -> None:
        """`add` or `remove` a node; returns when that is done."""
        assert self.process.stdin is not None
        print(word, file=self.process.stdin, flush=True)
        assert self._line() == "done"


@pytest.fixture(scope="module")
def line(s3_endpoint: str) -> Iterator[FaultProxy]:
    """The cluster's way to S3."""
    proxy = FaultProxy(s3_endpoint)
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def cluster(s3_environment: dict[str, str], line: FaultProxy) -> Iterator[Head]:
    folder = tempfile.mkdtemp(prefix="ray-")
    paths = os.pathsep.join(str(ROOT / name) for name in ("", "pipelines", "ssl"))
    python = str(Path(sys.executable).parent)
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "head_for_tests.py"), folder],
        env=os.environ
        | s3_environment
        | {"PYTHONPATH": paths, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
        | {"PATH": python + os.pathsep + os.environ["PATH"], "AWS_ENDPOINT_URL": line.url},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    yield Head(process)
    process.stdin.close()
    process.stdout.close()
    process.wait()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def head(cluster: Head) -> str:
    """URL of its dashboard."""
    return cluster.url


def submit(head: str, *words: str, token: str = TOKEN, options: tuple[str, ...] = ()) -> tuple[int, str]:
    words = ("submit", "--address", head, *options, "--", *words)
    with driver(list(words), RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token) as started:
        return started.wait(200)  # the job's own workers have to start too


def test_the_whole_job_from_s3_to_s3_while_its_node_is_lost(
    cluster: Head, line: FaultProxy, settings: dict[str, Any], data: Path, s3_bucket: str, run: Callable[..., Any]
) -> None:
    copy_tree(str(data), f"{s3_bucket}/data")
    pool = [f"{s3_bucket}/data/pool-{number}.tar" for number in range(4)]
    moved = settings | {"target": [f"{s3_bucket}/data/target"], "pool": pool, "deny": f"{s3_bucket}/data/deny.txt"}
    run(out=f"{s3_bucket}/alone", **moved)
    held, released = threading.Event(), threading.Event()
    writes: list[str] = []

    def hold_first_part(method: str, path: str) -> None:
        if method == "PUT" and "/pool/img_emb/" in path:
            writes.append(path)
            if len(writes) == 1:
                held.set()
                released.wait()

    def lose_the_node() -> None:
        held.wait()
        cluster.tell("add")
        cluster.tell("remove")
        # A worker may outlive its node for a moment: its answer is held until another one has done its work.
        until(lambda: released.is_set() or writes.count(writes[0]) == 2, "another worker writes the part")
        released.set()

    line.before_answer = hold_first_part
    thread = threading.Thread(target=lose_the_node)
    thread.start()
    try:
        words = ["submit", "--address", cluster.url, "--", "select", *flags(out=f"{s3_bucket}/run", **moved)]
        with driver(words, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN) as started:
            output = started.process.communicate(timeout=PATIENCE)[0]
            code = started.process.returncode
    finally:
        released.set()
        held.set()
        thread.join()

    assert code == 0, output
    assert_same_bytes(f"{s3_bucket}/run", f"{s3_bucket}/alone")
    assert writes.count(writes[0]) == 2


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
    assert "there is no job server" in error
    assert "http://127.0.0.1:9" in error
    assert len(error.splitlines()) == 1


def test_variables_and_what_the_command_reserves(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_HERE", "here")
    options = ("--env", "CURATOR_DEBUG=1", "--env", "FROM_HERE", "--entrypoint-num-cpus", "0.5")

    words = ["submit", "--address", head, *options, "--", "inspect", "/no/such.tar"]
    with driver(words, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN) as started:
        log, error = started.process.communicate(timeout=200)

    assert started.process.returncode == 2, error
    assert "CURATOR_DEBUG, FROM_HERE: whoever sees Ray's dashboard sees the value too" in error
    assert "Traceback" in log  # as the variable asks for


def test_without_waiting(head: str) -> None:
    code, error = submit(head, "inspect", "/no/such.tar", options=("--no-wait",))

    assert code == 0
    assert "ray job logs --follow" in error


def test_ctrl_c_without_a_terminal_leaves_the_job(
    head: str, settings: dict[str, Any], reference: Path, s3_bucket: str
) -> None:
    from curator.io import storage

    words = ["submit", "--address", head, "--", "select", *flags(out=f"{s3_bucket}/run", **settings)]
    with driver(words, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN) as started:
        until(lambda: storage.exists(f"{s3_bucket}/run/run.json"), "the job has begun")
        started.signal_group(signal.SIGINT)
        code, error = started.wait()

    assert code == 130
    assert "goes on" in error
    deadline = time.monotonic() + PATIENCE
    while not storage.exists(f"{s3_bucket}/run/shards/sizes.json") and time.monotonic() < deadline:
        time.sleep(0.5)
    assert storage.exists(f"{s3_bucket}/run/shards/sizes.json")
