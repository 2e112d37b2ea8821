"""How long a run will take, measured: some seconds of its real work on the user's own shards."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from curator.errors import CuratorError, InputError
from curator.selection import Rules, expected_centroids, find_centroids, select_simcore
from curator.sources import Source
from curator_pipelines.config import SelectConfig
from curator_pipelines.jobs.measure import own_executor
from curator_pipelines.jobs.select.prepare import Prepared
from curator_pipelines.run import Reporter, duration
from curator_pipelines.stages import CalibrateStage, EmbedStage, Measured

__all__ = ["SECONDS", "Forecast", "StageForecast", "calibrate"]

SECONDS = 60.0
# What is packed where only the stop rule will tell how much: for the gaps between reads.
UNKNOWN_SHARE = 0.05
# Images of a target that nobody has counted.
UNKNOWN_TARGET = 500
SEARCH_ROWS = 1 << 17
PART_ROWS = 1 << 14
KMEANS_ROWS = 1000
BUSY = 0.7


@dataclass(frozen=True)
class StageForecast:
    """What one stage will take.

    Attributes:
        name: the stage.
        amount: samples it works on; None if unknown.
        per_second: samples, all workers together.
        seconds: None if the amount is unknown.
        gpu_hours: 0 where it uses none.
        read: bytes; None if unknown.
        written: bytes; None if unknown.
        memory: bytes, peak of one worker, or of the driver for `select`.
        bound_by: what is busy while the rest waits.
    """

    name: str
    amount: int | None
    per_second: float
    seconds: float | None
    gpu_hours: float
    read: int | None
    written: int | None
    memory: int
    bound_by: str

    def to_text(self) -> str:
        """One line."""
        time_ = (
            f"about {duration(self.seconds)} for {self.amount:,} samples at {self.per_second:,.0f}/s"
            if self.seconds is not None and self.amount is not None
            else f"{duration(1000 / self.per_second)} per 1,000 samples; how many is not known yet"
        )
        gpu = f", {self.gpu_hours:.2f} GPU-hours" if self.gpu_hours else ""
        read = "" if self.read is None else f"reads {_size(self.read)}, "
        written = "" if self.written is None else f"writes {_size(self.written)}, "
        return f"{time_}{gpu}; {read}{written}{_size(self.memory)} of memory; bound by {self.bound_by}"


@dataclass(frozen=True)
class Forecast:
    """What a run will take, stage by stage.

    Attributes:
        measured: seconds of work it is based on.
        workers: that worked, and will work.
        stages: in their order; only those with something left to do.
    """

    measured: float
    workers: int
    stages: list[StageForecast]

    @property
    def seconds(self) -> float:
        """All stages whose amount is known."""
        return sum(stage.seconds or 0.0 for stage in self.stages)

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self) | {"seconds": self.seconds, "hours": self.seconds / 3600}

    def to_text(self) -> str:
        """For a person."""
        lines = [f"{stage.name:11} {stage.to_text()}" for stage in self.stages]
        gpu = sum(stage.gpu_hours for stage in self.stages)
        total = f"about {duration(self.seconds)}" + (f", {gpu:.2f} GPU-hours" if gpu else "")
        return "\n".join([*lines, f"{'together':11} {total} (from {duration(self.measured)} of measuring)"])


def calibrate(prepared: Prepared, config: SelectConfig, reporter: Reporter) -> Forecast:
    """Do some seconds of a run's work and say how long all of it will take. Writes to temporary folders only.

    Every worker takes part, as in the run: what they share (cores, network, disk) is shared here.

    Raises:
        InputError: there is no image to measure with.
        CuratorError: the work failed.
    """
    pool = prepared.pool
    sources = [source for source in pool.todo or pool.sources if source.holds_images]
    settings = pool.encoding.settings
    if not sources or settings is None:
        raise InputError("it measures embedding, and the pool is ready embeddings", field="calibrate")
    started = time.monotonic()
    candidates = pool.samples
    budget = config.limits()[0]
    chosen = None if budget is None or candidates is None else min(budget.of(round(candidates)), round(candidates))
    share = UNKNOWN_SHARE if chosen is None or not candidates else chosen / candidates
    stage = CalibrateStage(EmbedStage("", settings, config.min_side), SECONDS, share)
    work, start = _measure(stage, sources, prepared, reporter)
    device = pool.encoding.device
    stages = [_embed(job.name, job.samples_left, work, start, device) for job in prepared.jobs.values()]
    targets = [round(job.samples or UNKNOWN_TARGET) for job in prepared.targets.values()]
    clusters = sum(expected_centroids(rows, config.clusters) for rows in targets)
    stages.append(_select(candidates, sum(targets), pool.encoding.dim, clusters, share))
    if not config.manifest_only and any(measured.packed for measured in work):
        stages.append(_pack(None if chosen is None else chosen * max(1, len(targets)), work))
    stages = [stage for stage in stages if stage.amount != 0]
    return Forecast(time.monotonic() - started, len(work), stages)


def _measure(
    stage: CalibrateStage, sources: Sequence[Source], prepared: Prepared, reporter: Reporter
) -> tuple[list[Measured], float]:
    """What the workers did, and the seconds that it took to start them."""
    begun = time.monotonic()
    executor = own_executor(prepared.executor)
    workers = executor.workers
    tasks = [(*sources[first:], *sources[:first]) for first in _starts(len(sources), workers)]
    with (
        reporter.stage("calibrate", None, "samples") as progress,
        closing(executor.map(stage, tasks, on_progress=progress)) as outcomes,
    ):
        work = [outcome.unwrap() for outcome in outcomes]
    if not sum(measured.samples for measured in work):
        raise CuratorError(
            "not one sample was embedded: see curator inspect for what is in the pool", field="calibrate"
        )
    return work, time.monotonic() - begun - max(measured.seconds + measured.pack_seconds for measured in work)


def _starts(sources: int, workers: int) -> list[int]:
    """Where each worker begins: spread over the pool, whose shards may differ."""
    return [number * sources // workers for number in range(workers)]


def _embed(name: str, amount: float | None, work: Sequence[Measured], start: float, device: str) -> StageForecast:
    rate = sum(measured.samples / measured.seconds for measured in work)
    samples = sum(measured.samples for measured in work)
    count = None if amount is None else round(amount)
    seconds = None
    if count is not None:
        seconds = count / rate + start if count else 0.0
    return StageForecast(
        name,
        count,
        rate,
        seconds,
        (seconds or 0.0) / 3600 * len(work) if device == "cuda" else 0.0,
        None if count is None else round(count * sum(measured.bytes for measured in work) / samples),
        None if count is None else round(count * sum(measured.stored for measured in work) / samples),
        max(measured.memory for measured in work),
        _bound(work, device),
    )


def _bound(work: Sequence[Measured], device: str) -> str:
    total = sum(measured.seconds for measured in work)
    encode = sum(measured.encode for measured in work) / total
    decode = sum(measured.decode / measured.threads for measured in work) / total
    shares = f"encoding {encode:.0%} of the time, decoding {decode:.0%}"
    if device == "cuda":
        busy = "the GPU" if encode > BUSY else "decoding on the CPUs" if decode > BUSY else "reading from storage"
    else:
        busy = "the CPUs" if encode + decode > BUSY else "reading from storage"
    return f"{busy} ({shares})"


class _Random:
    """A pool of unit rows like the run's in number of dimensions."""

    def __init__(self, rows: int, dim: int) -> None:
        numbers = np.random.Generator(np.random.PCG64(0)).standard_normal((rows, dim), np.float32)
        self.rows = (numbers / np.linalg.norm(numbers, axis=1, keepdims=True)).astype(np.float16)

    def parts(self) -> Iterator[tuple[int, np.ndarray]]:
        for part, first in enumerate(range(0, len(self.rows), PART_ROWS)):
            yield part, self.rows[first : first + PART_ROWS]


def _select(candidates: float | None, target: int, dim: int, clusters: int, share: float) -> StageForecast:
    """Search and k-means over random rows: k-means is done sooner on rows that do form clusters."""
    rows = SEARCH_ROWS if candidates is None else max(PART_ROWS, min(SEARCH_ROWS, round(candidates)))
    pool = _Random(rows, dim)
    centroids = pool.rows[:clusters].astype(np.float32)
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    started = time.monotonic()
    select_simcore(pool, centroids, Rules(budget=max(1, round(share * rows))))
    rate = rows / (time.monotonic() - started)
    started, few = time.monotonic(), min(target, KMEANS_ROWS, rows)
    find_centroids(pool.rows[:few], clusters, 0)
    once = (time.monotonic() - started) * target / few
    count = None if candidates is None else round(candidates)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    seconds = None if count is None else count / rate + once
    vectors = None if count is None else 2 * dim * count
    bound = f"the CPUs: k-means {duration(once)}, the rest one pass over the vectors"
    return StageForecast("select", count, rate, seconds, 0.0, vectors, 0, memory, bound)


def _pack(chosen: int | None, work: Sequence[Measured]) -> StageForecast:
    working = [measured for measured in work if measured.packed]
    rate = sum(measured.packed / measured.pack_seconds for measured in working)
    packed_size = sum(measured.packed_bytes for measured in working) / sum(measured.packed for measured in working)
    size = None if chosen is None else round(chosen * packed_size)
    seconds = None if chosen is None else chosen / rate
    memory = max(measured.memory for measured in work)
    return StageForecast("pack", chosen, rate, seconds, 0.0, size, size, memory, "storage: reads of single samples")


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
