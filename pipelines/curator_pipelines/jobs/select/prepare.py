"""Everything that can go wrong before work starts, found here: sources, encoder, identity, disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from curator.sources import Source
from curator.store import PartStore, StoredParts, named_as_first_seen, unversioned
from curator_pipelines.config import EncodingConfig
from curator_pipelines.executors import Executor
from curator_pipelines.jobs.measure import (
    Encoding,
    Encodings,
    RunSources,
    choose_encodings,
    executor_begun,
    make_executor,
)
from curator_pipelines.jobs.select.embed import EmbedJob
from curator_pipelines.jobs.select.index import pool_index
from curator_pipelines.run import Reporter, RunDirectory, TargetDirectory, target_set

__all__ = ["Prepared", "keep_max_bad", "prepare"]

C = TypeVar("C", bound=EncodingConfig)


@dataclass(frozen=True)
class Prepared:
    """What a run works on, checked.

    Attributes:
        run: the run directory.
        sources: what it was given.
        jobs: set name -> the job that embeds it, in their order: targets, pool, evaluation images.
        executor: where the work runs.
    """

    run: RunDirectory
    sources: RunSources
    jobs: dict[str, EmbedJob]
    executor: Executor

    @property
    def pool(self) -> EmbedJob:
        """The job that embeds the pool."""
        return self.jobs["pool"]

    @property
    def targets(self) -> dict[str, EmbedJob]:
        """The jobs that embed the targets, by the target's name; none for `curator embed`."""
        return {name: self.jobs[target_set(name)] for name in self.sources.targets}

    @property
    def directories(self) -> list[TargetDirectory]:
        """Where each target's results go, over the parts as OUT has them, and which index the pool has."""
        index = pool_index(self.run, self.sources.pool, self.pool.listing.finished)
        return [replace(self.run.target_directory(name), index=index) for name in self.sources.targets]

    def stored_directories(self, stored: Mapping[str, StoredParts]) -> list[TargetDirectory]:
        """The same over snapshots of the embedded sets, by their names."""
        index = pool_index(self.run, self.sources.pool, stored["pool"].finished())
        return [
            replace(
                self.run.target_directory(name),
                target=stored[target_set(name)],
                pool=stored["pool"],
                exclude=stored.get("exclude", self.run.exclude),
                index=index,
            )
            for name in self.sources.targets
        ]


def prepare(
    config: EncodingConfig,
    encoder: str | Encoding,
    run: RunDirectory,
    sources: RunSources,
    redo: str | None,
    reporter: Reporter,
) -> Prepared:
    """Choose the encoder of the sources that were found, and check both against OUT. Writes nothing.

    Args:
        config: how to embed, and where.
        encoder: by what, its name or loaded already.
        run: the run directory.
        sources: see `find_run_sources`.
        redo: the stage to start anew, whose old results are not checked.
        reporter: is told the encoder.

    Raises:
        InputError: with what, where and what to do.
    """
    run.check_ours()
    if sources.targets:
        run.check_targets(list(sources.targets))
    runs = run.owner is not None
    waits = runs or getattr(config, "calibrate", False)
    with executor_begun(config, run.url, keeps=runs, waits=waits) as hardware:
        encodings = choose_encodings(config, encoder, sources, hardware, reporter)
    jobs = _checked_jobs(run, sources, encodings, config, redo)
    if warning := unversioned({source.name: source.stat for source in sources.everything}):
        reporter.warn(warning)
    executor = make_executor(config, encodings.device, run.url, encodings.precision)
    return Prepared(run, sources, jobs, executor)


def keep_max_bad(config: C, run: RunDirectory, reporter: Reporter) -> C:
    """The config with the share of bad samples that OUT was begun with, where it has none of its own."""
    recorded = run.record.get("config", {}).get("max_bad")
    if config.max_bad is not None or recorded is None:
        return config
    reporter.say(f"up to {recorded:.2%} of the samples of a set may be bad, as this run was told before")
    return config.model_copy(update={"max_bad": recorded})


def _as_registered(run: RunDirectory, name: str, sources: Sequence[Source], redo: str | None) -> Sequence[Source]:
    """The sources of a set under the names that their parts have, if some of them moved since they were embedded."""
    if not run.record.get("relocated") or run.redoes(name, redo):
        return sources
    return named_as_first_seen(sources, PartStore(run.path(name)).registered())


def _checked_jobs(
    run: RunDirectory, sources: RunSources, encodings: Encodings, config: EncodingConfig, redo: str | None
) -> dict[str, EmbedJob]:
    named = {name: _as_registered(run, name, listed, redo) for name, listed in sources.sets.items()}
    pairs = [pair for name, listed in sources.sets.items() for pair in zip(listed, named[name], strict=True)]
    known_rows = encodings.ready_rows
    ready_rows = {source.name: known_rows[given.name] for given, source in pairs if given.name in known_rows}
    jobs = {
        name: EmbedJob(
            run,
            name,
            listed,
            encodings.by_set[name],
            min_side=config.min_side if name == "pool" else 0,
            update=config.update_pool and name == "pool",
            redo=redo,
            ready_rows=ready_rows,
            give_up_shards=config.give_up_shards,
            refers=name == "pool" and not config.copy_pool,
        )
        for name, listed in named.items()
    }
    for job in jobs.values():
        job.check()
        job.check_space()
    return jobs
