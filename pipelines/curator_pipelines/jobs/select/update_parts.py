"""Sources that are gone or changed since they were embedded: what that costs their parts, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from curator.store import Part, identity_hash
from curator_pipelines.executors import Executor
from curator_pipelines.run import Reporter
from curator_pipelines.stages import RenewStage, RenewTask

if TYPE_CHECKING:
    from curator_pipelines.jobs.select.embed import EmbedJob

__all__ = ["register_parts", "renew_parts"]


def renew_parts(job: EmbedJob, executor: Executor, reporter: Reporter) -> dict[int, str]:
    """Read what was written anew in the same size, without the encoder.

    Returns:
        part -> its new identity, of those whose sources hold what they held. Their files stand under it.

    Raises:
        UnreadableShard: one cannot be read, so nobody knows.
    """
    changes, sources = job.changes, {source.name: source for source in job.sources}
    marks = set(job.listing.marks)
    tasks = []
    for old in changes.touched:
        new = job.part_of(sources[old.url], old.part)
        if (old.part, old.identity) in marks and _is_made_alike(job, old, new):
            tasks.append(RenewTask(sources[old.url], old, new))
    renewed: dict[int, str] = {}
    if tasks:
        reporter.say(f"{job.name}: {len(tasks):,} sources have another version and the same size: they are read")
        with closing(executor.map(RenewStage(job.store.url), tasks)) as outcomes:
            for outcome in outcomes:
                job.run.check_owner()
                if outcome.unwrap() is not None:
                    renewed[outcome.task.payload.new.part] = outcome.task.payload.new.identity
    retired = len(changes.gone) + len(changes.changed) + len(changes.touched) - len(renewed)
    reporter.say(
        f"{job.name}: {retired:,} parts are retired, {len(renewed):,} stay, under the new version of their source"
    )
    return renewed


def _is_made_alike(job: EmbedJob, old: Part, new: Part) -> bool:
    """Whether a part is what this job would have made of its source in the state that it had."""
    encoding = job.encoding.identity | ({"min_side": new.min_side} if new.min_side else {})
    return old.identity == identity_hash(old.url, old.stat, encoding)


def register_parts(job: EmbedJob, renewed: Mapping[int, str]) -> list[Part]:
    """Number the sources of a job, in parts.parquet too.

    Renewed parts keep their numbers. Those of other sources that are gone or changed are retired: the number stays
    taken, and what a changed source holds now becomes a part of a new number.
    """
    known = list(job.listing.registered)
    if job.changes:
        sources = {source.name: source for source in job.sources}
        lost = {part.part for part in (*job.changes.gone, *job.changes.changed, *job.changes.touched)}
        for number, part in enumerate(known):
            if number in renewed:
                known[number] = job.part_of(sources[part.url], number)
            elif number in lost:
                known[number] = replace(part, is_retired=True)
        job.run.check_owner()
        job.store.write_register(known)
    return job.store.register(job.sources, job.encoding.identity, job.min_side, known)
