"""What a run would do: the answer of `--dry-run`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from curator import storage
from curator_pipelines.jobs.embed import EmbedJob
from curator_pipelines.jobs.estimate import estimate_samples
from curator_pipelines.jobs.prepare import Prepared

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
    """What a run would do."""

    out: str
    executor: str
    sets: list[SetPlan]
    free: int | None

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def to_text(self) -> str:
        """For a person."""
        lines = [f"{plan.name:11} {plan.to_text()}" for plan in self.sets]
        free = "" if self.free is None else f" ({self.free / 1e9:,.1f} GB free)"
        return "\n".join([*lines, f"{'runs on':11} {self.executor}", f"{'writes to':11} {self.out}{free}"])


def make_plan(prepared: Prepared, redo: str | None) -> Plan:
    """Count what is there and what is left. Writes nothing."""
    sets = [_set_plan(job, redo) for job in prepared.jobs]
    out = prepared.run.url
    return Plan(out, prepared.executor.describe(), sets, storage.free_bytes(out))


def _set_plan(job: EmbedJob, redo: str | None) -> SetPlan:
    todo = job.todo(redo)
    samples = estimate_samples(todo)
    return SetPlan(
        name=job.name,
        sources=len(job.sources),
        finished=len(job.sources) - len(todo),
        samples_left=None if samples is None else round(samples),
        exact=isinstance(samples, int),
        bytes_left=sum(source.stat.size for source in todo),
        disk=None if samples is None else round(samples * job.bytes_per_sample),
        encoder=job.encoding.described,
    )
