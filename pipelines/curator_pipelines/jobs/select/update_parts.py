"""Sources that are gone or changed since they were embedded: what that costs their parts, and no others."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from curator.errors import counted
from curator.store import Part, identity_hash
from curator_pipelines.executors import Executor
from curator_pipelines.jobs.select.failed_shards import FailedShards
from curator_pipelines.run import Reporter
from curator_pipelines.stages import RenewStage, RenewTask

if TYPE_CHECKING:
    from curator_pipelines.jobs.select.embed import EmbedJob

__all__ = ["Renewed", "register_parts", "renew_parts"]


@dataclass
class Renewed:
    """What became of the parts of sources that were touched.

    Attributes:
        identities: part -> its new identity, of those whose sources hold what they held. Their files stand under it.
        kept: parts whose sources could not be read, so that nobody knows. Their files stay as they are.
    """

    identities: dict[int, str] = field(default_factory=dict)
    kept: set[int] = field(default_factory=set)


def renew_parts(job: EmbedJob, executor: Executor, failed: FailedShards, reporter: Reporter) -> Renewed:
    """Read what was written anew in the same size, without the encoder. What was renewed before is not read again.

    Args:
        job: whose parts.
        executor: reads.
        failed: is told how each ended.
        reporter: is told how many there are.

    Raises:
        CuratorError: so many could not be read that it is not for them; see `FailedShards.add`. No part is retired.
    """
    changes, sources = job.changes, {source.name: source for source in job.sources}
    marks, finished = set(job.listing.marks), job.finished
    renewed, tasks = Renewed(), []
    for old in changes.touched:
        new = job.part_of(sources[old.url], old.part)
        place = job.references.places.get(old.url)
        if finished.get(old.part) == new.identity:
            renewed.identities[old.part] = new.identity
        elif old.place is not None:
            # The run that holds it has looked at its source.
            if place is not None and place.content == old.place.content:
                renewed.identities[old.part] = new.identity
        elif (old.part, old.identity) in marks and _is_made_alike(job, old, new):
            tasks.append(RenewTask(sources[old.url], old, new))
    if tasks:
        reporter.say(f"{job.name}: {len(tasks):,} sources have another version and the same size: they are read")
        with closing(executor.map(RenewStage(job.store.url), tasks)) as outcomes:
            for outcome in outcomes:
                job.run.check_owner()
                failed.add(outcome)
                if outcome.error is not None:
                    renewed.kept.add(outcome.task.payload.part)
                elif outcome.value is not None:
                    renewed.identities[outcome.task.payload.part] = outcome.task.payload.new.identity
    _say_what_became(job, renewed, reporter)
    return renewed


def _say_what_became(job: EmbedJob, renewed: Renewed, reporter: Reporter) -> None:
    changes, stay, kept = job.changes, len(renewed.identities), len(renewed.kept)
    retired = len(changes.all_parts) - stay - kept
    text = f"{job.name}: {retired:,} parts are retired, {stay:,} stay, under the new version of their source"
    if kept:
        text += f"; {counted(kept, 'part')} of sources that could not be read are kept aside"
    reporter.say(text)


def _is_made_alike(job: EmbedJob, old: Part, new: Part) -> bool:
    """Whether a part is what this job would have made of its source in the state that it had."""
    encoding = job.encoding.identity | ({"min_side": new.min_side} if new.min_side else {})
    return old.identity == identity_hash(old.url, old.stat, encoding)


def register_parts(job: EmbedJob, renewed: Renewed) -> list[Part]:
    """Number the sources of a job, in parts.parquet too.

    Renewed and kept parts keep their numbers. Those of other sources that are gone or changed are retired: the number
    stays taken, and what a changed source holds now becomes a part of a new number.
    """
    known = list(job.listing.registered)
    if job.changes:
        by_name = {source.name: source for source in job.sources}
        lost = {part.part for part in job.changes.all_parts}
        for number, part in enumerate(known):
            if number in renewed.identities:
                known[number] = job.part_of(by_name[part.url], number)
            elif number in renewed.kept:
                known[number] = replace(part, is_kept=True)
            elif number in lost:
                known[number] = replace(part, is_retired=True, is_kept=False)
        job.run.check_owner()
        job.store.write_register(known)
    own = {part.url for part in job.listing.registered if part.part in renewed.identities and part.place is None}
    places = {name: place for name, place in job.references.places.items() if name not in own}
    return job.store.register(job.sources, job.encoding.identity, job.min_side, known, places)
