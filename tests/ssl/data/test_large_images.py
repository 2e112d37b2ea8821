"""Images that are sound and large, decoded side by side by the threads and by the processes of a trainer: in one
budget of memory, the same pixels. Real images, in processes of their own.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import subprocess
import sys
import time
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from training_for_tests import write_tar

from curator.images import Budget
from curator_ssl.data.sample_finder import find_samples
from curator_ssl.data.squares import READ_BYTES, Squares

SIDE = 9_900
GIB = 1 << 30
# Twice as many images, two a step: so many processes, or threads, each have one at a time.
DECODERS = 6

# What is told: the hash of all squares or views, and what the processes held at most beyond the beginning, together.
TRAINS = """
import hashlib, json, resource, sys, threading, time
from pathlib import Path
import os
import numpy as np, torch
from curator_ssl.data.loader import StepDataset, load_steps
from curator_ssl.data.samples import read_samples_file
from curator_ssl.data.sample_finder import find_samples
from curator_ssl.data.schedule import Schedule

path, out, workers, limit = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
samples = find_samples([path], [], out).samples
count = len(samples)
dataset = StepDataset(samples, Schedule(count, 0, 2, seed=3), 32)

def memory(pid):
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    own = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return own + sum(memory(child) for child in children)

dataset[0] if not limit else None
used = next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmData"))
if limit:
    resource.setrlimit(resource.RLIMIT_DATA, (used + limit, used + limit))
    dataset.squares.keep(workers)
    squares, _, bad = dataset.squares.read(np.arange(count))
    print(json.dumps({"sha256": hashlib.sha256(squares.numpy().tobytes()).hexdigest(), "bad": len(bad)}))
else:
    before, most, done = memory("self"), [0], []
    def watch():
        while not done:
            most[0] = max(most[0], memory(os.getpid()))
            time.sleep(0.01)
    watcher = threading.Thread(target=watch)
    watcher.start()
    batches = list(load_steps(dataset, 0, count // 2, workers))
    done.append(True)
    watcher.join()
    views = torch.stack([batch.views for batch in batches]).numpy().tobytes()
    print(json.dumps({
        "sha256": hashlib.sha256(views).hexdigest(),
        "bad": sum(len(batch.lines) for batch in batches),
        "peak": (most[0] - before) << 10,
    }))
"""


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Opaque images of 98 megapixels: each takes 0.4 GB, six of them 2.4 GB."""
    path = tmp_path_factory.mktemp("large") / "large.tar"
    images = {}
    for number in range(2 * DECODERS):
        buffer = io.BytesIO()
        Image.new("RGB", (SIDE, SIDE), (200, 20 * number, 50)).save(buffer, "PNG", compress_level=1)
        images[f"{number}.png"] = buffer.getvalue()
    write_tar(path, images)
    return path


def trained(shard: Path, out: Path, workers: int, limit: int = 0) -> Any:
    command = [sys.executable, "-c", TRAINS, str(shard), str(out), str(workers), str(limit)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.slow
def test_by_threads(shard: Path, tmp_path: Path) -> None:
    side_by_side = trained(shard, tmp_path / "six", DECODERS, limit=GIB)
    alone = trained(shard, tmp_path / "one", 1, limit=GIB)
    assert side_by_side == alone
    assert side_by_side["bad"] == 0


@pytest.mark.slow
def test_by_processes(shard: Path, tmp_path: Path) -> None:
    side_by_side = trained(shard, tmp_path / "six", DECODERS)
    alone = trained(shard, tmp_path / "one", 0)
    assert side_by_side["sha256"] == alone["sha256"]
    assert side_by_side["bad"] == 0
    # Of the budget of 1 GiB two images fit; the rest is the processes' own.
    assert side_by_side["peak"] < 1.5 * GIB, side_by_side["peak"] / GIB


def test_large_files_are_read_a_few_at_a_time(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {f"{number:03d}.png": b"x" for number in range(600)})
    samples = find_samples([str(tmp_path / "a.tar")], [], str(tmp_path / "out")).samples
    # As the index has it; nothing is read here.
    samples.size[300:310] = READ_BYTES // 2 - 1
    squares = Squares(samples, 8)

    places = list(squares._at_once(np.arange(600)))

    assert np.concatenate(places).tolist() == list(range(600))
    assert max(map(len, places)) <= 256
    assert max(int(samples.size[part][1:].sum()) for part in places) <= READ_BYTES


def _work(budget: Budget, begin: Any, total: Any, most: Any, size: int) -> None:
    begin.wait()
    for _ in range(200):
        with budget.hold(size):
            with total.get_lock():
                total.value += size
                most.value = max(most.value, total.value if total.value != size else 0)
            # Long enough for others to come in, however few cores there are.
            time.sleep(0.0005)
            with total.get_lock():
                total.value -= size


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_a_budget_of_processes_is_never_exceeded_but_by_one_alone(method: str) -> None:
    context: BaseContext = multiprocessing.get_context(method)
    budget, total, most = Budget(10, context), context.Value("q", 0), context.Value("q", 0)
    sizes = (1, 3, 4, 7, 25)
    begin = context.Barrier(len(sizes))
    workers = [context.Process(target=_work, args=(budget, begin, total, most, size)) for size in sizes]  # type: ignore[attr-defined]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert 0 < most.value <= 10
