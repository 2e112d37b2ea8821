"""Ten times the driver of `benchmarks.scale`: a thousand workers, a million done-marks, and what stragglers cost.

Peer: nothing does this exactly; the floor of a tail is the work divided by the speed of all workers together.

    python -m benchmarks.driver_scale dispatch TASKS WORKERS      the real loop and real messages, nothing on disk
    python -m benchmarks.driver_scale marks TASKS WORKERS FOLDER  the same, and each task leaves its done-mark; resumes
    python -m benchmarks.driver_scale again TASKS FOLDER          the embed job over them: all of it is done
    python -m benchmarks.driver_scale s3 TASKS                    requests of the driver, counted by a mock S3
    python -m benchmarks.driver_scale ray TASKS ACTORS            actors that wait a little, then write a done-mark
    python -m benchmarks.driver_scale stragglers                  the tail, with a clock that only counts

The workers of all but `ray` are in this process: see `benchmarks.simulated_workers`.
"""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.data import describe_machine
from benchmarks.mock_s3 import mock_s3
from benchmarks.scale import Marking, Waiting, job_of, mark_of, measured
from benchmarks.simulated_workers import Simulated, Workers
from curator.io import FileHash, Stat, part_files
from curator.sources import Source
from curator.store import DoneMark, PartStore
from curator.types import Progress
from curator_pipelines.executors import Outcome, Task
from curator_pipelines.executors.dispatcher import dispatch
from curator_pipelines.executors.protocol import as_tasks
from curator_pipelines.jobs.select import embed
from curator_pipelines.run import Reporter
from curator_pipelines.stages import EmbedTask

BUCKET = "scale"
# A file of ext4 may have 65,000 names.
NAMES_OF_A_FILE = 50_000


def unequal(task: Task[Any]) -> float:
    """Seconds of a task; no two workers should end theirs at the same time."""
    return 1.0 + task.number % 97 / 100


def dispatch_only(tasks: int, workers: int) -> None:
    done = pickle.dumps(mark_of("s3://bucket/shard.tar"))
    backend = Workers([1.0] * workers, lambda task: pickle.loads(done), unequal)
    with measured(f"dispatch {tasks:,} tasks to {workers:,} workers", tasks):
        assert sum(1 for _ in dispatch(backend, as_tasks(shards_of("", tasks)), None)) == tasks
    print(f"of which the workers' own work: {backend.cpu:.1f} s", flush=True)


def shards_of(folder: str, count: int) -> list[Source]:
    """Sources that need not be there."""
    return [Source("tar", url, url, Stat(10_000, "1")) for url in (f"{folder}/in/{n:07d}.tar" for n in range(count))]


class Linked:
    """In place of the embed stage: one name more of an array, a metadata file and a done-mark, which are all alike.

    Args:
        store: where they go.
    """

    def __init__(self, store: PartStore) -> None:
        self._urls = (part_files.array_url, part_files.metadata_url, lambda url, *name: store.done_url(*name))
        self._store = store
        self._linked = 0
        file = FileHash.of_bytes(b"x")
        seconds = {"decode": 1.0, "encode": 1.0, "total": 1.0}
        self._done = DoneMark(10_000, 10_000, 1024, seconds, [], array=file, metadata=file)
        for make in self._urls:
            os.makedirs(os.path.dirname(make(store.url, 0, "x")), exist_ok=True)

    def __call__(self, task: Task[EmbedTask]) -> DoneMark:
        """Make the three names of a part."""
        if self._linked % NAMES_OF_A_FILE == 0:
            self._originals = self._make_originals()
        self._linked += 1
        for original, make in zip(self._originals, self._urls, strict=True):
            os.link(original, make(self._store.url, task.payload.part, task.payload.identity))
        return self._done

    def _make_originals(self) -> list[str]:
        contents = (b"x", b"x", self._done.to_json())
        paths = [f"{self._store.url}/../x-{os.getpid()}-{self._linked}-{number}" for number in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            Path(path).write_bytes(content)
        return paths


def marks(tasks: int, workers: int, folder: str) -> None:
    job = job_of(f"{folder}/run", shards_of(folder, tasks))
    with measured("what is done"):
        todo = {source.name: source for source in job.todo}
    with measured(f"register {tasks:,} parts"):
        parts = job.store.register(job.sources, job.identity)
    backend = Workers([1.0] * workers, Linked(job.store), unequal)
    payloads = (EmbedTask(todo[part.url], part.part, part.identity) for part in parts if part.url in todo)
    with measured(f"dispatch {len(todo):,} tasks to {workers:,} workers", len(todo)):
        assert sum(1 for _ in dispatch(backend, as_tasks(payloads), None)) == len(todo)
    print(f"of which the workers' own work: {backend.cpu:.1f} s", flush=True)


def again(tasks: int, folder: str) -> None:
    embed.provenance = lambda encoding: {}
    job = job_of(f"{folder}/run", shards_of(folder, tasks))
    with measured("floor: list the done-marks"):
        assert len(os.listdir(f"{folder}/run/pool/done")) == tasks
    with measured("what is done"):
        assert job.todo == []
    job.run.start({}, None)
    with measured("the embed job, nothing to do", tasks):
        result = job.run_on(Simulated(Workers([], no_work, unequal)), Reporter())
    assert result.account.embedded == tasks * 10_000


def no_work(task: Task[Any]) -> Any:
    raise AssertionError(f"{task} was done before")


def s3(tasks: int) -> None:
    """Count the driver's requests: of a first run, whose workers write past the mock's door, and of the same again."""
    from moto.backends import get_backend

    embed.EmbedStage = Marking  # type: ignore[misc,assignment]
    embed.provenance = lambda encoding: {}
    with mock_s3() as traffic:
        store = get_backend("s3")["123456789012"]["aws"]
        store.create_bucket(BUCKET, "us-east-1")

        def mark(task: Task[EmbedTask]) -> DoneMark:
            done, name = mark_of(task.payload.source.name), (task.payload.part, task.payload.identity)
            files = [make(parts.url, *name) for make in (part_files.array_url, part_files.metadata_url)]
            for url, content in (dict.fromkeys(files, b"x") | {parts.done_url(*name): done.to_json()}).items():
                store.put_object(BUCKET, url.removeprefix(f"s3://{BUCKET}/"), content)
            return done

        for run in ("a first run", "the same again"):
            job = job_of(f"s3://{BUCKET}/run", shards_of(f"s3://{BUCKET}", tasks))
            parts = job.store
            job.run.start({}, None)
            traffic.requests.clear()
            with measured(f"{run} of {tasks:,} parts, S3"):
                executor = _Past(Workers([1.0] * 100, mark, unequal))
                job.run_on(executor, Reporter())
            print(f"requests of {run}: {dict(traffic.requests)}", flush=True)


class _Past(Simulated):
    """Its workers know what to do without a stage."""

    def map(
        self, stage: Any, tasks: Iterable[Any], *, on_progress: Progress | None = None
    ) -> Generator[Outcome[Any, Any], None, None]:
        """Run what its workers do over `tasks`."""
        yield from super().map(None, tasks, on_progress=on_progress)


def ray(tasks: int, actors: int) -> None:
    from curator_pipelines.executors.ray import RayExecutor
    from curator_pipelines.executors.ray_cluster import connect

    embed.EmbedStage = Waiting  # type: ignore[misc,assignment]
    embed.provenance = lambda encoding: {}
    with tempfile.TemporaryDirectory() as folder:
        executor = RayExecutor(connect("local"), actors)
        for run in ("a first run", "the same again"):
            job = job_of(f"{folder}/run", shards_of(folder, tasks))
            job.run.start({}, None)
            with measured(f"{run}, {tasks:,} tasks, {executor.workers} actors", tasks):
                job.run_on(executor, Reporter())


def stragglers() -> None:
    """Print how much longer than the floor a run takes, on a clock that only counts: no CPU sets these figures."""
    usual, long = [1.0] * 10_000, 100.0
    middle = [*usual[:5_000], long, *usual[5_000:]]
    print("| 10,000 shards of a second, and | workers | order | seconds | floor | ratio |\n|---|---|---|---|---|---|")
    for workers in (100, 1_000):
        even, slow = [1.0] * workers, [0.1] + [1.0] * (workers - 1)
        _print_tail("one of 100 seconds", "given: it is the last", [*usual, long], even)
        _print_tail("one of 100 seconds", "given: it is in the middle", middle, even)
        _print_tail("one of 100 seconds", "largest first", [long, *usual], even)
        _print_tail("a worker at a tenth", "any", usual, slow)
        _print_tail("both, and it does not get the long one", "largest first", [long, *usual], slow[::-1])
        _print_tail("both, and it gets the long one", "largest first", [long, *usual], slow)


def _print_tail(what: str, order: str, sizes: Sequence[float], speeds: Sequence[float]) -> None:
    backend = Workers(speeds, lambda task: None, lambda task: sizes[task.number])
    for _ in dispatch(backend, as_tasks(sizes), None):
        pass
    floor = max(sum(sizes) / sum(speeds), max(sizes) / max(speeds))
    print(f"| {what} | {len(speeds):,} | {order} | {backend.now:.1f} | {floor:.1f} | {backend.now / floor:.2f} |")


def main() -> None:
    """Run the part that the arguments name."""
    name, *arguments = sys.argv[1:] or ["stragglers"]
    parts: dict[str, Callable[..., None]] = {
        "dispatch": dispatch_only,
        "marks": marks,
        "again": again,
        "s3": s3,
        "ray": ray,
        "stragglers": stragglers,
    }
    print(f"{name}; {describe_machine()}", flush=True)
    parts[name](*(int(word) if word.isdecimal() else word for word in arguments))


if __name__ == "__main__":
    main()
