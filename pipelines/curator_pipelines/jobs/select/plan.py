"""What a run would do: the answer of `curator plan` and of a dry run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from curator.io import storage
from curator.selection import expected_centroids
from curator.store import DenyList
from curator_pipelines.config import SelectConfig
from curator_pipelines.jobs.select.calibrate import Forecast, calibrate
from curator_pipelines.jobs.select.choose import is_current
from curator_pipelines.jobs.select.embed import EmbedJob
from curator_pipelines.jobs.select.prepare import Prepared
from curator_pipelines.run import Reporter, load_selection

__all__ = ["Plan", "SetPlan", "make_plan"]


@dataclass(frozen=True)
class SetPlan:
    """What is to do for the target or the pool.

    Attributes:
        name: `target` or `pool`.
        sources: shards, folders or arrays.
        finished: how many of them are finished parts.
        samples_left: in the others; None if unknown.
        exact: whether samples_left was counted, not estimated.
        bytes_left: to read.
        disk: bytes of embeddings and metadata to write; None if unknown.
        encoder: with what.
    """

    name: str
    sources: int
    finished: int
    samples_left: int | None
    exact: bool
    bytes_left: int
    disk: int | None
    encoder: str

    def to_text(self) -> str:
        """One line."""
        about = "" if self.exact else "about "
        samples = "unknown" if self.samples_left is None else f"{about}{self.samples_left:,}"
        disk = "" if self.disk is None else f", {self.disk / 1e6:,.1f} MB to write"
        return (
            f"{self.sources} sources, {self.finished} finished; left: {samples} samples, "
            f"{self.bytes_left / 1e6:,.1f} MB to read{disk} ({self.encoder})"
        )


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        out: the run directory.
        executor: where the work runs.
        sets: what is to do for target and pool.
        clusters: how many centroids there would be and what they cost, in words.
        selection: what would become of the selection, in words.
        shards: what would be packed, in words.
        disk: bytes that OUT will grow by: embeddings, and shards where the budget says how many; None if unknown.
        free: bytes free there; None for object stores.
        forecast: how long it will take, if that was measured.
    """

    out: str
    executor: str
    sets: list[SetPlan]
    clusters: str
    selection: str
    shards: str
    disk: int | None
    free: int | None
    forecast: Forecast | None = None

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self) | {"forecast": self.forecast.to_json() if self.forecast else None}

    def to_text(self) -> str:
        """For a person."""
        lines = [f"{plan.name:11} {plan.to_text()}" for plan in self.sets]
        needed = "an unknown amount" if self.disk is None else f"about {self.disk / 1e6:,.1f} MB"
        free = "" if self.free is None else f" ({self.free / 1e9:,.1f} GB free)"
        lines += [
            f"{'centroids':11} {self.clusters}",
            f"{'select':11} {self.selection}",
            f"{'pack':11} {self.shards}",
            f"{'runs on':11} {self.executor}",
            f"{'writes to':11} {self.out}: {needed}{free}",
        ]
        return "\n".join(lines + ([self.forecast.to_text()] if self.forecast else []))


def make_plan(
    prepared: Prepared, config: SelectConfig, denied: DenyList | None, reporter: Reporter, calibrated: bool
) -> Plan:
    """Count what is there and what is left; measure, if `calibrated`. Writes nothing to OUT."""
    redo, run = config.redo, prepared.run
    sets = [_set_plan(job) for job in prepared.jobs.values()]
    left = any(plan.finished < plan.sources for plan in sets)
    chosen = _chosen(prepared, config)
    directories = prepared.directories
    current = []
    if not left and not run.redoes("select", redo):
        selections = [(load_selection(directory), directory) for directory in directories]
        current = [
            selection
            for selection, directory in selections
            if selection is not None and is_current(selection, directory, config, denied)
        ]
    stored = len(current) == len(directories)
    if stored:
        chosen = sum(len(selection.ids) for selection in current)
    shard_bytes = _shard_bytes(prepared, chosen)
    packed = (
        stored
        and not run.redoes("pack", redo)
        and all(storage.exists(directory.path("shards", "sizes.json")) for directory in directories)
    )
    disk = None if any(plan.disk is None for plan in sets) else sum(plan.disk or 0 for plan in sets)
    if not (config.manifest_only or packed):
        disk = None if disk is None or shard_bytes is None else disk + shard_bytes
    return Plan(
        run.url,
        prepared.executor.describe(),
        sets,
        _clusters_words(prepared, config),
        _selection_words(config, chosen, stored),
        _pack_words(config, chosen, shard_bytes, packed),
        disk,
        storage.free_bytes(run.url),
        calibrate(prepared, config, reporter) if calibrated else None,
    )


def _chosen(prepared: Prepared, config: SelectConfig) -> int | None:
    """How many samples a budget means, for all targets together; None if only the stop rule will tell."""
    budget, _ = config.limits()
    targets = len(prepared.targets)
    candidates = prepared.pool.samples
    if budget is None or candidates is None:
        return targets * budget.count if budget and budget.count else None
    return targets * min(budget.of(round(candidates)), round(candidates))


def _shard_bytes(prepared: Prepared, chosen: int | None) -> int | None:
    sources = [source for source in prepared.pool.sources if source.is_packable]
    samples = prepared.pool.estimate(sources)
    if chosen is None or not samples:
        return None
    return round(chosen * sum(source.stat.size for source in sources) / samples)


def _clusters_words(prepared: Prepared, config: SelectConfig) -> str:
    """How many centroids, and the arithmetic of a pass over the pool."""
    if "clusters" in config.unread():
        return f"none: {config.selector} has no centroids"
    counts = [round(job.samples) for job in prepared.targets.values() if job.samples is not None]
    if len(counts) < len(prepared.targets):
        return "one for each distinct target image" if config.clusters is None else f"{config.clusters:,} a target"
    centroids = sum(expected_centroids(count, config.clusters) for count in counts)
    words = f"{centroids:,}, " + ("one for each image" if centroids == sum(counts) else "by k-means")
    pool = prepared.pool
    if pool.samples is None:
        return words
    rows, dim = round(pool.samples), pool.encoding.dim
    cost = 2 * rows * centroids * dim / 1e12
    return f"{words}; a pass over the pool costs 2 x {rows:,} x {centroids:,} x {dim:,} = {cost:,.3g} TFLOP"


def _selection_words(config: SelectConfig, chosen: int | None, stored: bool) -> str:
    if stored:
        return f"done before and nothing changed: {chosen:,} samples"
    count = "as many samples as the stop rule takes" if chosen is None else f"up to {chosen:,} samples"
    stop = config.limits()[1]
    rule = ", stop found by the target's own images" if stop == "auto" else f", stop {stop:g}" if stop else ""
    return f"to do: {count}, by {config.selector}{rule}"


def _pack_words(config: SelectConfig, chosen: int | None, size: int | None, packed: bool) -> str:
    if config.manifest_only:
        return "the manifest only"
    if packed:
        return "shards stand from an earlier run; what is not the same plan is packed anew"
    if chosen is None:
        return f"to do: shards of {config.shard_size:,} samples"
    about = "" if size is None else f", about {size / 1e6:,.1f} MB"
    return f"to do: {-(-chosen // config.shard_size):,} shards of {config.shard_size:,} samples{about}"


def _set_plan(job: EmbedJob) -> SetPlan:
    samples = job.samples_left
    return SetPlan(
        name=job.name,
        sources=len(job.sources),
        finished=len(job.sources) - len(job.todo),
        samples_left=None if samples is None else round(samples),
        exact=isinstance(samples, int),
        bytes_left=sum(source.stat.size for source in job.todo),
        disk=None if samples is None else round(samples * job.bytes_per_sample),
        encoder=job.encoding.described,
    )
