"""The index job: the stored parts of a pool, grouped by lists of a coarse quantiser."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from curator.errors import CuratorError, InputError, Leave, Use, counted
from curator.index import (
    MOST_RUNS,
    Factory,
    IndexStore,
    merge_tasks,
    next_merge,
    parse_factory,
    sample_rows,
    train_codec,
    train_quantiser,
)
from curator.io import absolute, owned, storage
from curator.plugins import require_package
from curator.sources import Source
from curator.store import PartStore, StoredParts
from curator.types import Progress
from curator_pipelines.config import IndexConfig
from curator_pipelines.executors import Executor, FailuresInARow
from curator_pipelines.jobs.measure import make_executor
from curator_pipelines.run import Reporter, RunDirectory, duration, recorded
from curator_pipelines.stages import IndexStage, MergeStage

__all__ = ["IndexSummary", "build_index", "pool_index", "run_index"]

# Rows that are put aside to measure recall on: a share of all, and at least and at most so many, where that can be.
LEAST_SAMPLE, MOST_SAMPLE = 50_000, 500_000
LEAST_RATE, MOST_RATE = 0.01, 0.05


@dataclass(frozen=True)
class IndexSummary:
    """The end of `curator index`."""

    out: str
    factory: str
    rows: int
    pieces: int
    built: int
    seconds: float
    warnings: list[str]

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def to_text(self) -> str:
        """For a person."""
        return (
            f"index       {self.factory}: {self.rows:,} rows in {self.pieces:,} pieces, {self.built:,} of them new\n"
            f"time        {duration(self.seconds)}\n"
            f"use         curator select --out {self.out} --search ivf ..."
        )


def run_index(config: IndexConfig, reporter: Reporter) -> IndexSummary:
    """Build OUT/index over OUT/pool; finished pieces are not built again.

    Raises:
        InputError: OUT has no embedded pool, or an index that lacks parts and `add` is not given.
        CuratorError: the run failed; running it again resumes.
    """
    require_package("faiss", "cpu")
    out = absolute(config.out)
    if not PartStore(storage.join(out, "pool")).finished():
        raise InputError("no embedded pool is there", field="out", value=out, advice="embed the pool into it first")
    with owned(out) as owner, recorded(reporter, out, owner, config.metrics_file):
        return _run_index(RunDirectory(out, owner), config, reporter)


def _run_index(run: RunDirectory, config: IndexConfig, reporter: Reporter) -> IndexSummary:
    started = time.monotonic()
    pool = run.pool.snapshot()
    index = IndexStore(run.path("index"))
    settings = index.settings()
    if settings is not None:
        given = {"factory": str(_parse(pool, config.factory)), "seed": config.seed}
        for name in sorted(config.model_fields_set & given.keys()):
            if settings[name] != given[name]:
                raise InputError(
                    f"{index.url} was made with {settings[name]}",
                    field=name,
                    value=given[name],
                    advice=("remove it to build another", Leave(name)),
                )
    state = run.record.get("stages", {}).get("index", {}).get("state")
    if settings is not None and state == "done" and not config.add and (missing := index.missing_parts(pool)):
        raise InputError(
            f"{index.url} lacks {counted(len(missing), 'part')} of the pool as it is now", advice=Use("add", True)
        )
    run.record.setdefault("stages", {})
    executor = make_executor(config, "cpu", run.url)
    built = build_index(run, pool, config.factory, config.seed, executor, reporter)
    rows = index.rows_of_pieces()
    return IndexSummary(
        run.url,
        (index.settings() or {})["factory"],
        sum(rows.values()),
        len(rows),
        built,
        time.monotonic() - started,
        reporter.warnings,
    )


def pool_index(run: RunDirectory, sources: Sequence[Source], finished: Mapping[int, str]) -> str:
    """URL of the index of a run's pool: OUT/index, unless that is still to be made and another run has it already.

    Another run has it if its whole pool is this run's: the same parts under the same numbers, all of them in its index.

    Args:
        run: the run directory.
        sources: of the run's pool.
        finished: part number -> identity of the pool's finished parts.
    """
    own = run.path("index")
    pools = {source.listed_in for source in sources}
    # Only what a run stored is used as it is; other embeddings are brought to unit length anew.
    if not all(pools) or len(pools) != 1 or IndexStore(own).settings():
        return own
    index = IndexStore(storage.join(pools.pop().rpartition("/")[0], "index"))
    return index.url if finished and index.settings() and index.parts() == finished else own


def build_index(
    run: RunDirectory, pool: StoredParts, factory: str | None, seed: int, executor: Executor, reporter: Reporter
) -> int:
    """Train the quantiser where there is none, and build the pieces that are missing; returns how many.

    Where a list's rows lie in more than a few places then, pieces are put together.

    Raises:
        InputError: faiss is missing, or the factory string does not fit.
        CuratorError: a piece could not be built.
    """
    index = IndexStore(run.path("index"))
    built = _build_pieces(run, index, pool, factory, seed, executor, reporter)
    index.sweep()
    _merge_pieces(run, index, executor, reporter)
    return built


def _build_pieces(
    run: RunDirectory,
    index: IndexStore,
    pool: StoredParts,
    factory: str | None,
    seed: int,
    executor: Executor,
    reporter: Reporter,
) -> int:
    rows = pool.count()
    if index.settings() is None:
        _train(pool, index, _parse(pool, factory), seed, reporter)
    settings = index.settings()
    assert settings is not None
    if outdated := index.outdated(pool):
        reporter.say(f"index: {len(outdated):,} pieces hold parts that are gone or made anew, and are built again")
        run.check_owner()
        index.remove_pieces(outdated)
    plans = index.missing_pieces(pool)
    if not plans:
        return 0
    storage.remove_temporaries(index.url)
    stage = IndexStage(index.url, pool.files(), settings["sample_rate"])
    with run.stage("index") as state, reporter.stage("index", rows, "rows") as progress:
        progress.done = rows - sum(pool.counts[part].embedded for plan in plans for part in plan.parts)
        _run_all(index, executor, stage, plans, progress)
        state |= {"pieces": len(index.finished()), "built": len(plans), "factory": settings["factory"]}
    return len(plans)


def _merge_pieces(run: RunDirectory, index: IndexStore, executor: Executor, reporter: Reporter) -> None:
    """Put pieces together, so that no list has its rows in more than a few places."""
    merge = next_merge(index)
    if merge is None:
        return
    rows = sum(own for number, own in index.rows_of_pieces().items() if number in merge.built)
    pieces = counted(len(merge.built), "piece is", "pieces are")
    reporter.say(f"index: {pieces} put together, so that a list is read in {MOST_RUNS} places at the most")
    storage.remove_temporaries(index.url)
    with reporter.stage("merge", rows, "rows") as progress:
        _run_all(index, executor, MergeStage(index.url), merge_tasks(index, merge), progress)
    run.check_owner()
    index.finish_merge(merge)


def _run_all(index: IndexStore, executor: Executor, stage: Any, tasks: Iterable[Any], progress: Progress) -> None:
    """Do all tasks; many alike failures in a row end it at once.

    Raises:
        CuratorError: some failed.
    """
    with closing(executor.map(stage, tasks, on_progress=progress)) as outcomes:
        errors, in_a_row = [], FailuresInARow()
        for outcome in outcomes:
            if outcome.error is not None:
                errors.append(outcome.error)
            if in_a_row.add(outcome):
                break
    storage.remove_temporaries(index.url)  # of workers that were killed on the way
    if errors:
        raise CuratorError(f"index: {errors[0]}") from errors[0]


def _parse(pool: StoredParts, factory: str | None) -> Factory:
    return parse_factory(factory, pool.count(), pool.dim)


def _train(pool: StoredParts, index: IndexStore, factory: Factory, seed: int, reporter: Reporter) -> None:
    coded = factory.kind != "Flat"
    rows = pool.count()
    reporter.say(f"index: training {factory.lists:,} lists{f' and {factory.kind}' if coded else ''}")
    sample = sample_rows(pool.parts(), rows, factory.training_rows, seed)
    quantiser, warning = train_quantiser(sample, factory.lists, seed)
    if warning:
        reporter.warn(f"index: {warning}")
    codec = train_codec(factory.kind, sample, quantiser) if coded else None
    rate = min(MOST_RATE, max(LEAST_RATE, LEAST_SAMPLE / max(rows, 1)), MOST_SAMPLE / max(rows, 1))
    index.create(quantiser, codec, factory.kind, rate, seed)
