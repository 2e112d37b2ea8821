"""Run a selector over the stored embeddings, for one target or for several in one pass over the pool."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from curator.errors import InputError
from curator.io import schemas, storage
from curator.selection import (
    DistributedScan,
    Filter,
    Question,
    ScanTask,
    Selection,
    SimilarityJoin,
    TopK,
    deny,
    directions,
    find_centroids,
    first_rejection,
    near_evaluation,
    no_duplicates,
    select_each,
    select_knn,
    select_random,
)
from curator.store.deny_list import DenyList
from curator.store.part_store import PartStore
from curator.store.row_reader import RowReader
from curator.types import Progress
from curator_pipelines.config.select import SelectConfig
from curator_pipelines.executors import Executor
from curator_pipelines.jobs.select.choose_ivf import choose_ivf, index_identity
from curator_pipelines.run.progress import Reporter
from curator_pipelines.run.run_directory import TargetDirectory
from curator_pipelines.run.stored_selection import StoredSelection, load_selection, store_selection
from curator_pipelines.stages.search import SearchStage

__all__ = ["choose", "is_current"]


def choose(
    targets: Sequence[TargetDirectory],
    config: SelectConfig,
    denied: DenyList | None,
    executor: Executor,
    reporter: Reporter,
) -> dict[str, StoredSelection]:
    """Select from OUT/pool by each target, or reuse what an equal selection left; target name -> its stored.

    Everything after the stored embeddings is a function of them, the config and the seed alone.

    Raises:
        InputError: a target or the pool has no embedded sample.
    """
    known = {directory.name: _known(directory, config, denied, reporter) for directory in targets}
    todo = [directory for directory in targets if known[directory.name] is None]
    made = _choose_anew(todo, config, denied, executor, reporter) if todo else {}
    return {name: stored or made[name] for name, stored in known.items()}


def _known(
    directory: TargetDirectory, config: SelectConfig, denied: DenyList | None, reporter: Reporter
) -> StoredSelection | None:
    """What an earlier run chose, if nothing that matters has changed since."""
    stored = load_selection(directory)
    if stored is None or not is_current(stored, directory, config, denied):
        return None
    reporter.say(f"select: nothing changed since the last selection{f' ({directory.name})' if directory.name else ''}")
    for warning in stored.record["warnings"]:
        reporter.warn(warning)
    return stored


def is_current(
    stored: StoredSelection, directory: TargetDirectory, config: SelectConfig, denied: DenyList | None
) -> bool:
    """True if a stored selection is whole, and the one that `choose` would make of the parts finished now."""
    files = {"rounds.parquet", "skipped.parquet"} | ({"centroids.npy"} if config.selector != "random" else set())
    known = stored.record["identity"] == _identity(directory, config, denied)
    return known and files <= set(storage.list_names(directory.path("selection")))


def _choose_anew(
    targets: Sequence[TargetDirectory],
    config: SelectConfig,
    denied: DenyList | None,
    executor: Executor,
    reporter: Reporter,
) -> dict[str, StoredSelection]:
    pool = targets[0].pool
    candidates = pool.count()
    if not candidates:
        raise InputError("the pool has no usable sample: see quarantine.parquet for why")
    budget, stop = config.limits()
    limits = _Limits(budget.of(candidates) if budget else None, stop)
    if limits.budget is not None and limits.budget > candidates:
        reporter.warn(f"--budget {limits.budget:,} is above the {candidates:,} candidates of the pool: all are chosen")
    # Until the new selection.json stands, OUT has no selection: readers must not mix old files with new ones.
    for directory in targets:
        storage.remove(directory.path("selection", "selection.json"))
    denied_ids, unknown = denied.find(pool) if denied else (np.empty(0, np.int64), 0)
    if unknown:
        reporter.warn(f"--deny {config.deny}: {unknown:,} of {len(denied or ()):,} entries match no sample")
    with reporter.stage("select", candidates, "rows") as progress:
        made = _select(targets, config, limits, denied_ids, executor, progress)
        progress.done = candidates
    selections = {}
    for directory, (selection, centroids) in zip(targets, made, strict=True):
        for warning in selection.warnings:
            reporter.warn(f"{directory.name}: {warning}" if directory.name else warning)
        identity = _identity(directory, config, denied)
        selections[directory.name] = store_selection(directory, config, selection, centroids, identity)
    return selections


class _Limits(NamedTuple):
    budget: int | None
    stop: float | None


def _select(
    targets: Sequence[TargetDirectory],
    config: SelectConfig,
    limits: _Limits,
    denied: np.ndarray,
    executor: Executor,
    progress: Progress,
) -> list[tuple[Selection, np.ndarray | None]]:
    """The selection of each target, and what its column `centroid` counts in."""
    new_filter = _filter_maker(targets[0], config, denied)
    if config.search == "ivf":
        return [_by_index(directory, config, limits, new_filter, executor, progress) for directory in targets]
    filters = [new_filter(directory) for directory in targets]
    if config.selector == "simcore":
        questions = [
            Question(
                find_centroids(_all_vectors(directory.target), config.clusters, config.seed),
                limits.budget,
                limits.stop,
                config.reference_round,
                row_filter,
            )
            for directory, row_filter in zip(targets, filters, strict=True)
        ]
        pool = targets[0].pool
        # One worker alone would be no faster than this process, and would first have to start.
        search = partial(_by_workers, pool, executor, progress) if executor.workers > 1 else None
        selections = select_each(pool, questions, progress=progress, search=search)
        return [(selection, question.centroids) for selection, question in zip(selections, questions, strict=True)]
    assert limits.budget is not None
    found: list[tuple[Selection, np.ndarray | None]] = []
    for directory, row_filter in zip(targets, filters, strict=True):
        if config.selector == "random":
            seed = config.seed
            chosen = select_random(
                directory.pool, budget=limits.budget, seed=seed, row_filter=row_filter, progress=progress
            )
            found.append((chosen, None))
        else:
            # All target rows stand where the centroids stand: `centroid` counts in this array.
            vectors = _all_vectors(directory.target).astype(np.float32)
            chosen = select_knn(directory.pool, vectors, budget=limits.budget, row_filter=row_filter, progress=progress)
            found.append((chosen, vectors))
    return found


def _by_index(
    directory: TargetDirectory,
    config: SelectConfig,
    limits: _Limits,
    new_filter: Callable[[TargetDirectory], Filter | None],
    executor: Executor,
    progress: Progress,
) -> tuple[Selection, np.ndarray]:
    centroids = find_centroids(_all_vectors(directory.target), config.clusters, config.seed)
    question = Question(centroids, limits.budget, limits.stop, config.reference_round)
    row_filter = partial(new_filter, directory)
    return choose_ivf(directory, question, config.recall, row_filter, executor, progress), centroids


def _filter_maker(
    some: TargetDirectory, config: SelectConfig, denied: np.ndarray
) -> Callable[[TargetDirectory], Filter | None]:
    """What makes a row_filter for a target of all that may be said against a row; the one with a memory comes last."""
    held = _hold(some.exclude) if config.exclude else None

    def make(directory: TargetDirectory) -> Filter | None:
        read_rows = RowReader(directory.pool)
        filters = [deny(denied, because=config.deny or "")] if len(denied) else []
        if held:
            filters.append(near_evaluation(read_rows.vectors, *held, config.exclude_above))
        if config.dedup is not None:
            basis = directions(_all_vectors(directory.target))
            filters.append(no_duplicates(read_rows.vectors, read_rows.hashes, basis, config.dedup))
        return first_rejection(*filters) if filters else None

    return make


def _hold(store: PartStore) -> tuple[SimilarityJoin, np.ndarray]:
    """All rows of a store, to be compared with, and their ids."""
    vectors = _all_vectors(store)
    held = SimilarityJoin(directions(vectors))
    held.add(vectors)
    ids = [(np.int64(part) << 32) + np.arange(len(rows), dtype=np.int64) for part, rows in store.parts()]
    return held, np.concatenate(ids)


def _by_workers(pool: PartStore, executor: Executor, progress: Progress, centroids: np.ndarray) -> DistributedScan:
    """The search by all workers."""
    stage = SearchStage(pool.url, centroids)

    def scan(tasks: Iterable[ScanTask]) -> Iterator[TopK]:
        with closing(executor.map(stage, tasks, on_progress=progress)) as outcomes:
            for outcome in outcomes:
                yield outcome.unwrap()

    return DistributedScan(scan, pool.vectors, sorted(pool.finished()), pool.count(), centroids, executor.workers)


def _all_vectors(store: PartStore) -> np.ndarray:
    vectors = np.concatenate([vectors for _, vectors in store.parts()])
    if not len(vectors):
        raise InputError(f"{store.url} has no usable image: see quarantine.parquet for why")
    return vectors


def _identity(directory: TargetDirectory, config: SelectConfig, denied: DenyList | None) -> str:
    """A hash of all that a selection is a function of."""
    wanted: dict[str, Any] = {
        name: getattr(config, name) for name in ("selector", "clusters", "reference_round", "seed")
    }
    wanted |= {
        "limits": [str(limit) for limit in config.limits()],
        "deny": denied.digest if denied else None,
        "dedup": config.dedup,
        "exclude": [config.exclude_above, sorted(directory.exclude.finished().items())] if config.exclude else None,
        "target": sorted(directory.target.finished().items()),
        "pool": sorted(directory.pool.finished().items()),
        "version": schemas.FORMAT_VERSION,
    }
    if config.search == "ivf":
        wanted["index"] = [config.recall, index_identity(directory.index)]
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:16]
