"""Run a selector over the stored embeddings and store what it chose below OUT/selection."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from curator import schemas, storage
from curator.deny import DenyList
from curator.errors import InputError
from curator.parts import PartStore
from curator.selection import (
    Queues,
    ScanTask,
    Selection,
    SpreadSearch,
    deny,
    find_centroids,
    select_knn,
    select_random,
    select_simcore,
)
from curator_pipelines.config import SelectConfig
from curator_pipelines.executors import Executor
from curator_pipelines.jobs.choose_ivf import choose_ivf, index_identity
from curator_pipelines.progress import Reporter
from curator_pipelines.rundir import RunDirectory
from curator_pipelines.stages.search import SearchStage

__all__ = ["Choice", "choose", "load_choice"]


@dataclass(frozen=True)
class Choice:
    """A stored selection.

    Attributes:
        record: the content of `selection.json`.
        ids: int64, in order of choice.
        scores: float32.
        centroids: int32.
        rounds: int32.
        reused: it was there before and nothing had changed.
    """

    record: dict[str, Any]
    ids: np.ndarray
    scores: np.ndarray
    centroids: np.ndarray
    rounds: np.ndarray
    reused: bool = False


def choose(
    run: RunDirectory, config: SelectConfig, denied: DenyList | None, executor: Executor, reporter: Reporter
) -> Choice:
    """Select from OUT/pool by OUT/target, or reuse what an equal selection left.

    Everything after the stored embeddings is a function of them, the config and the seed alone.

    Raises:
        InputError: the target or the pool has no embedded sample.
    """
    index = index_identity(run, config, executor, reporter) if config.search == "ivf" and run.pool.count() else None
    identity = _identity(run, config, denied, index)
    if (known := load_choice(run)) is not None and known.record["identity"] == identity:
        reporter.say("select: nothing changed since the last selection")
        for warning in known.record["warnings"]:
            reporter.warn(warning)
        return Choice(known.record, known.ids, known.scores, known.centroids, known.rounds, reused=True)
    candidates = run.pool.count()
    if not candidates:
        raise InputError("the pool has no usable sample: see quarantine.parquet for why")
    budget, stop = config.limits()
    wanted = budget.of(candidates) if budget else None
    if wanted is not None and wanted > candidates:
        reporter.warn(f"--budget {wanted:,} is above the {candidates:,} candidates of the pool: all are chosen")
    # Until the new selection.json stands, OUT has no selection: readers must not mix old files with new ones.
    storage.remove(run.path("selection", "selection.json"))
    denied_ids, unknown = denied.find(run.pool) if denied else (np.empty(0, np.int64), 0)
    if unknown:
        reporter.warn(f"--deny {config.deny}: {unknown:,} of {len(denied or ()):,} entries match no sample")
    with reporter.stage("select", candidates, "rows") as progress:

        def on_progress(what: str, count: int) -> None:
            if what == "scan":
                progress.done = count
                reporter.show(progress)

        selection, centroids = _select(run, config, wanted, stop, denied_ids, executor, on_progress)
        progress.done = candidates
    for warning in selection.warnings:
        reporter.warn(warning)
    return _store(run, config, selection, centroids, identity)


def _select(
    run: RunDirectory,
    config: SelectConfig,
    budget: int | None,
    stop: float | None,
    denied: np.ndarray,
    executor: Executor,
    progress: Any,
) -> tuple[Selection, np.ndarray | None]:
    judge = deny(denied, because=config.deny or "") if len(denied) else None
    if config.selector == "random":
        assert budget is not None
        return select_random(run.pool, budget=budget, seed=config.seed, judge=judge, progress=progress), None
    vectors = _all_vectors(run.target)
    if config.selector == "knn":
        assert budget is not None
        # All target rows stand where the centroids stand: `centroid` counts in this array.
        targets = vectors.astype(np.float32)
        return select_knn(run.pool, targets, budget=budget, judge=judge, progress=progress), targets
    centroids = find_centroids(vectors, config.clusters, config.seed)
    if config.search == "ivf":
        return choose_ivf(run, config, centroids, budget, stop, lambda: judge, progress), centroids
    selection = select_simcore(
        run.pool,
        centroids,
        budget=budget,
        stop=stop,
        reference_round=config.reference_round,
        judge=judge,
        progress=progress,
        fetch=_by_workers(run, centroids, executor, progress) if executor.workers > 1 else None,
    )
    return selection, centroids


def _by_workers(
    run: RunDirectory, centroids: np.ndarray, executor: Executor, progress: Callable[[str, int], None]
) -> SpreadSearch:
    """The search by all workers. One alone would be no faster than this process, and would first have to start."""
    stage = SearchStage(run.pool.url, centroids)

    def scan(tasks: Iterable[ScanTask]) -> Iterator[Queues]:
        seen = 0

        def on_progress(increments: dict[str, int]) -> None:
            nonlocal seen
            seen += increments.get("rows", 0)
            progress("scan", seen)

        with closing(executor.map(stage, tasks, on_progress=on_progress)) as outcomes:
            for outcome in outcomes:
                yield outcome.unwrap()

    return SpreadSearch(
        scan, run.pool.vectors, sorted(run.pool.finished()), run.pool.count(), centroids, executor.workers
    )


def _all_vectors(store: PartStore) -> np.ndarray:
    vectors = np.concatenate([vectors for _, vectors in store.parts()])
    if not len(vectors):
        raise InputError("the target has no usable image: see quarantine.parquet for why")
    return vectors


def _identity(run: RunDirectory, config: SelectConfig, denied: DenyList | None, index: Any) -> str:
    """A hash of all that a selection is a function of; `index` is None for the exact search."""
    wanted: dict[str, Any] = {
        name: getattr(config, name) for name in ("selector", "clusters", "reference_round", "seed")
    }
    wanted |= {
        "limits": [str(limit) for limit in config.limits()],
        "deny": denied.digest if denied else None,
        "target": sorted(run.target.finished().items()),
        "pool": sorted(run.pool.finished().items()),
        "version": schemas.FORMAT_VERSION,
    }
    if index is not None:
        wanted["index"] = index
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:16]


def _store(
    run: RunDirectory,
    config: SelectConfig,
    selection: Selection,
    centroids: np.ndarray | None,
    identity: str,
) -> Choice:
    """Write OUT/selection; selection.json goes last."""
    if centroids is None:
        storage.remove(run.path("selection", "centroids.npy"))
    else:
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, centroids.astype(np.float32), version=(1, 0))
        storage.write_bytes(run.path("selection", "centroids.npy"), buffer.getvalue())
    columns = _choice_columns(run, config, selection.ids, selection.scores, selection.centroids, selection.rounds)
    schemas.write_table(run.path("selection", "selected.parquet"), schemas.SELECTED, columns)
    table = selection.table
    schemas.write_table(
        run.path("selection", "rounds.parquet"),
        schemas.ROUNDS,
        {
            "round": table.round,
            "mean_score": table.mean_score,
            "ratio": [None if math.isnan(ratio) else ratio for ratio in table.ratio.tolist()],
            "picked": table.picked,
        },
    )
    excluded = selection.excluded
    columns = _choice_columns(run, config, excluded.ids, excluded.scores, excluded.centroids, excluded.rounds)
    columns |= {"reason": excluded.reasons, "because": excluded.because}
    schemas.write_table(run.path("selection", "excluded.parquet"), schemas.EXCLUDED, columns)
    record = _record(config, selection, identity)
    text = json.dumps(record, indent=2)
    storage.write_bytes(run.path("selection", "selection.json"), text.encode())
    return Choice(record, selection.ids, selection.scores, selection.centroids, selection.rounds)


def _choice_columns(
    run: RunDirectory,
    config: SelectConfig,
    ids: np.ndarray,
    scores: np.ndarray,
    centroids: np.ndarray,
    rounds: np.ndarray,
) -> dict[str, Any]:
    """The columns of `schemas.CHOICE`. What a selector does not know is null, not a number that looks like one."""
    rows = run.pool.rows(ids, ["shard", "image_path"])
    unknown = [None] * len(ids)
    return {
        "id": ids,
        "shard": rows["shard"].combine_chunks(),
        "key": rows["image_path"].combine_chunks(),
        "score": unknown if config.selector == "random" else scores,
        "centroid": unknown if config.selector == "random" else centroids,
        "round": rounds if config.selector == "simcore" else unknown,
    }


def _record(config: SelectConfig, selection: Selection, identity: str) -> dict[str, Any]:
    means = selection.table.mean_score
    stopped = selection.stopped_at
    return {
        "version": schemas.FORMAT_VERSION,
        "identity": identity,
        "selector": config.selector,
        "count": len(selection.ids),
        "candidates": selection.candidates,
        "excluded": len(selection.excluded),
        "not_reached": selection.not_reached,
        "rounds": len(means),
        "stop_reason": str(selection.stop_reason),
        "stopped_at": stopped._asdict() if stopped else None,
        "reference_round": config.reference_round,
        "reference_mean": _finite(selection.reference_mean),
        "first_mean": float(means[0]) if len(means) else None,
        "last_mean": float(means[-1]) if len(means) else None,
        "objective": _finite(selection.objective),
        # The exact search misses nothing; the index says here what it measured.
        "recall": 1.0 if selection.recall is None else selection.recall["estimate"],
        "search": "exact" if selection.recall is None else "ivf",
        "index": selection.recall,
        "passes": selection.passes,
        "warnings": selection.warnings,
    }


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def load_choice(run: RunDirectory) -> Choice | None:
    """The stored selection; None if there is no finished one."""
    try:
        record = json.loads(storage.read_bytes(run.path("selection", "selection.json")))
        table = schemas.read_table(run.path("selection", "selected.parquet"), schemas.SELECTED)
    except FileNotFoundError:
        return None
    if record.get("version") != schemas.FORMAT_VERSION:
        raise InputError(f"{run.path('selection')} has an unknown format version: --redo select")
    return Choice(
        record,
        table["id"].to_numpy(),
        table["score"].fill_null(math.nan).to_numpy(),
        table["centroid"].fill_null(-1).to_numpy(),
        table["round"].fill_null(-1).to_numpy(),
    )
