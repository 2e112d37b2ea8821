"""The driver at 100,000 shards: the real jobs and the real executor, with workers that only write done-marks.

Peer: nothing does this exactly; the floor is a bare listing of the same files. `python -m benchmarks.scale [PARTS]`

The embed job registers the parts, hands out the tasks, takes the outcomes and collects the accounts; a worker's task is
a pause and one done-mark with some ledger lines. Then the same job again, which finds everything done. Then, where
moto is installed, the same questions to S3 with that many objects (put into the mock store directly).
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.data import describe_machine
from benchmarks.mock_s3 import mock_s3
from curator.errors import Reason
from curator.io import FileHash, Stat, part_files, storage
from curator.sources import Source, find_sources
from curator.store import DoneMark, PartStore, write_quarantine
from curator.types import LedgerLine
from curator_pipelines.executors import LocalExecutor, Task, WorkerContext
from curator_pipelines.jobs.measure import Encoding
from curator_pipelines.jobs.select import EmbedJob, embed
from curator_pipelines.run import Reporter, RunDirectory
from curator_pipelines.stages import EmbedTask

SAMPLES, BAD = 10_000, 5
PAUSE = 0.0
BUCKET = "scale"


@dataclass(frozen=True)
class Marking:
    """In place of the embed stage: a pause, and a done-mark."""

    store_url: str
    encoder: Any
    min_side: int = 0

    def open(self, context: WorkerContext) -> Callable[[Task[EmbedTask]], DoneMark]:
        """As the real one's, without an encoder."""
        store = PartStore(self.store_url)

        def mark(task: Task[EmbedTask]) -> DoneMark:
            time.sleep(PAUSE)
            done = mark_of(task.payload.source.name)
            for url in _files(store, task.payload.part, task.payload.identity):
                storage.write_bytes(url, b"x")
            store.mark(task.payload.part, task.payload.identity, done)
            context.report({"samples": done.embedded, "bad": BAD})
            return done

        return mark


@dataclass(frozen=True)
class Waiting(Marking):
    """A task that takes a second of the clock and little of the CPU."""

    def open(self, context: WorkerContext) -> Callable[[Task[EmbedTask]], DoneMark]:
        """As the real one's, without an encoder."""
        mark = super().open(context)

        def wait(task: Task[EmbedTask]) -> DoneMark:
            time.sleep(1.0)
            return mark(task)

        return wait


def mark_of(shard: str) -> DoneMark:
    """A done-mark as a real part has: five bad samples of 10,000."""
    lines = [
        LedgerLine(shard, f"{number:09d}", number << 20, "decode", Reason.DECODE_ERROR, "cannot identify image file")
        for number in range(BAD)
    ]
    seconds, file = {"decode": 1.0, "encode": 1.0, "total": 1.0}, FileHash.of_bytes(b"x")
    return DoneMark(SAMPLES, SAMPLES - BAD, 1024, seconds, lines, array=file, metadata=file)


def _files(store: PartStore, part: int, identity: str) -> list[str]:
    """The URLs of an array and its metadata, of which only names and sizes count here."""
    return [make(store.url, part, identity) for make in (part_files.array_url, part_files.metadata_url)]


def main() -> None:
    """Print the figures."""
    parts = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    print(f"{parts:,} shards; {describe_machine()}")
    embed.EmbedStage = Marking  # type: ignore[misc,assignment]
    embed.provenance = lambda encoding: {}
    with tempfile.TemporaryDirectory() as folder:
        shards = _shards(Path(folder) / "in", parts)
        with measured("find sources, local"):
            sources = find_sources([f"{folder}/in/{{{0:06d}..{parts - 1:06d}}}.tar"], "pool", folders=False)
        assert len(sources) == parts == shards
        job = job_of(f"{folder}/run", sources)
        with measured("schedule, mark, collect", parts):
            _run(job)
        again = job_of(f"{folder}/run", sources)
        with measured("floor: list the done-marks, local"):
            assert len(os.listdir(f"{folder}/run/pool/done")) == parts
        with measured("what is done, local"):
            assert again.todo == []
        with measured("the same job again, nothing to do"):
            _run(again)
    _on_s3(parts)


def _shards(folder: Path, parts: int) -> int:
    folder.mkdir()
    for number in range(parts):
        (folder / f"{number:06d}.tar").write_bytes(bytes(512))
    return len(os.listdir(folder))


def job_of(out: str, sources: list[Source]) -> EmbedJob:
    encoding = Encoding(None, {"tensors": "none"}, 1024, "cpu", "none", "no encoder")
    return EmbedJob(RunDirectory(out), "pool", sources, encoding)


def _run(job: EmbedJob) -> None:
    job.run.start({}, None)
    result = job.run_on(LocalExecutor(workers=2, cpus=2), Reporter())
    write_quarantine(job.run.url, result.lines)
    assert result.account.embedded == len(job.sources) * (SAMPLES - BAD)
    assert len(result.lines) == len(job.sources) * BAD


def _on_s3(parts: int) -> None:
    try:
        from moto.backends import get_backend
    except ImportError:
        print("moto is not installed: nothing measured on S3")
        return
    with mock_s3():
        _ask_s3(parts, get_backend)


def _ask_s3(parts: int, get_backend: Callable[[str], Any]) -> None:
    store = get_backend("s3")["123456789012"]["aws"]
    store.create_bucket(BUCKET, "us-east-1")
    sources = [
        Source("tar", f"s3://{BUCKET}/in/{n:06d}.tar", f"s3://{BUCKET}/in/{n:06d}.tar", Stat(512, "x"))
        for n in range(parts)
    ]
    job = job_of(f"s3://{BUCKET}/run", sources)
    for part in job.store.register(sources, job.identity):
        mark = mark_of(part.url).to_json()
        name = (part.part, part.identity)
        contents = {job.store.done_url(*name): mark} | dict.fromkeys(_files(job.store, *name), b"x")
        for url, content in contents.items():
            store.put_object(BUCKET, url.removeprefix(f"s3://{BUCKET}/"), content)
    with measured("floor: list the done-marks, S3"):
        assert len(storage.list_names(f"s3://{BUCKET}/run/pool/done")) == parts
    with measured("what is done, S3"):
        assert job.todo == []
    few = PartStore(f"s3://{BUCKET}/run/pool")
    with measured("2,000 done-marks read, S3", 2000):
        finished = dict(list(few.finished().items())[:2000])
        assert sum(1 for _ in few.marks(finished)) == min(parts, 2000)


@contextmanager
def measured(what: str, count: int = 0) -> Iterator[None]:
    """Print a line: seconds, CPU seconds of this process, its peak memory, and a rate."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    seconds, used = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rate = f"  {count / seconds:8,.0f}/s" if count else ""
    print(f"{what:38} {seconds:8.1f} s  driver CPU {used:7.1f} s  peak {peak:6,.0f} MB{rate}", flush=True)


if __name__ == "__main__":
    main()
