"""Run a selector over the stored embeddings, for one target or for several in one pass over the pool."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from curator.errors import UnusableInput
from curator.io import schemas, storage
from curator.search import PassProgress, QueryScan, watched
from curator.selection import SELECTORS, HeldOut, PoolSample, Request, Rules, Selection, Selector, find_selector
from curator.store import DenyList, RowReader
from curator.types import Progress, parts_of
from curator_pipelines.config import SelectConfig, identity_settings
from curator_pipelines.executors import Executor
from curator_pipelines.jobs.select.choose_filters import Filters
from curator_pipelines.jobs.select.choose_search import exact_scan, exact_search, index_identity, index_search
from curator_pipelines.jobs.select.denied import denied_ids
from curator_pipelines.jobs.select.held_out_targets import (
    HeldOutTargets,
    beyond_domain,
    ended_early,
    stop_in_force,
    tau_or_none,
)
from curator_pipelines.jobs.select.judge import judge, target_queries
from curator_pipelines.run import (
    KeptArrays,
    Replaced,
    Reporter,
    StoredSelection,
    TargetDirectory,
    load_selection,
    note_unreadable,
    store_selection,
    unreadable_shards,
)

__all__ = ["choose", "is_current"]


def choose(
    targets: Sequence[TargetDirectory],
    config: SelectConfig,
    denied: DenyList | None,
    held_out: HeldOutTargets,
    executor: Executor,
    reporter: Reporter,
) -> dict[str, StoredSelection]:
    """Select from OUT/pool for each target, or take what an equal selection left; target name -> its selection.

    Everything after the stored embeddings is a function of them, the config and the seed alone.

    Raises:
        UnusableInput: a target or the pool has no embedded sample.
    """
    current, outdated, before = {}, [], {}
    for directory in targets:
        stored = load_selection(directory)
        if stored is None or not is_current(stored, directory, config, denied):
            outdated.append(directory)
            if stored is not None:
                before[directory.name] = stored.ids
            _tell_retired(directory, stored, reporter)
            _say_why(stored, directory, reporter)
            continue
        name = f" ({directory.name})" if directory.name else ""
        reporter.say(f"select: nothing changed since the last selection{name}")
        _warn(directory, stored.record["warnings"], reporter)
        note_unreadable(directory, stored)
        current[directory.name] = stored
    selections = current | (_choose_anew(outdated, config, denied, held_out, executor, reporter) if outdated else {})
    for name, ids in before.items():
        again = len(np.intersect1d(ids, selections[name].ids, assume_unique=True))
        selections[name] = replace(selections[name], replaced=Replaced(len(ids), again))
    return {directory.name: selections[directory.name] for directory in targets}


def _tell_retired(directory: TargetDirectory, stored: StoredSelection | None, reporter: Reporter) -> None:
    retired = [part.part for part in directory.pool.registered() if part.is_retired]
    lost = int(np.isin(parts_of(stored.ids), retired).sum()) if stored is not None else 0
    if lost and stored is not None:
        name = f" ({directory.name})" if directory.name else ""
        reporter.say(
            f"select: {lost:,} of the {len(stored.ids):,} samples chosen before are of shards that are gone or "
            f"changed: chosen anew{name}"
        )


def _say_why(stored: StoredSelection | None, directory: TargetDirectory, reporter: Reporter) -> None:
    """Tell of a selection that is made anew since shards can be read now: nothing else may have changed."""
    before = set(stored.record.get("unreadable_shards", ())) if stored is not None else set()
    if readable := sorted(before - set(unreadable_shards(directory))):
        count = f"{len(readable)} shards" if len(readable) > 1 else "a shard"
        reporter.say(f"select: anew, since {count} could not be read before and can be read now: {readable[0]}")


def is_current(
    stored: StoredSelection, directory: TargetDirectory, config: SelectConfig, denied: DenyList | None
) -> bool:
    """True if a stored selection is whole, and the one that `choose` would make of the parts finished now."""
    if stored.record["identity"] != _identity(directory, config, denied):
        return False
    files = {"rounds.parquet", "skipped.parquet", "next.parquet", "held_out.parquet", "nearest.parquet"}
    if find_selector(config.selector).has_anchors:
        files.add("centroids.npy")
    return files <= set(storage.list_names(directory.path("selection")))


def _choose_anew(
    targets: Sequence[TargetDirectory],
    config: SelectConfig,
    denied: DenyList | None,
    held_out: HeldOutTargets,
    executor: Executor,
    reporter: Reporter,
) -> dict[str, StoredSelection]:
    candidates = targets[0].pool.count()
    if not candidates:
        raise UnusableInput("the pool has no usable sample: see quarantine.parquet for why")
    # Until the new selection.json stands, OUT has no selection: readers must not mix old files with new ones.
    for directory in targets:
        storage.remove(directory.path("selection", "selection.json"))
    ids = denied_ids(denied, config.deny or "", targets[0].pool, executor, reporter) if denied else None
    filters = Filters.load(config, ids, targets[0].exclude)
    rules = [
        _rules(directory, config, candidates, filters, held_out.of(directory.name, directory.target))
        for directory in targets
    ]
    if rules[0].budget is not None and rules[0].budget > candidates:
        reporter.warn(f"the budget of {rules[0].budget:,} is above the {candidates:,} candidates: all are chosen")
    selector = find_selector(config.selector)
    queries = target_queries(selector, targets)
    with reporter.stage("select", candidates, "rows") as progress:
        kept = KeptArrays(targets, targets[0].pool)
        selections = _select(
            selector, targets, rules, queries, config, executor, PassProgress(progress), reporter.say, kept
        )
        kept.remove_others()
        progress.done = candidates
    selections = [
        judge(directory, selection, queries[number] if queries else None, held_out.by_rows(directory).median)
        for number, (directory, selection) in enumerate(zip(targets, selections, strict=True))
    ]
    stored = {}
    for directory, own_rules, selection in zip(targets, rules, selections, strict=True):
        report = held_out.ranked(directory)
        of_end = [*beyond_domain(selection, own_rules, report.tau), *ended_early(selection, config)]
        warnings = [*selection.warnings, *of_end, *report.warnings()]
        _warn(directory, warnings, reporter)
        stored[directory.name] = store_selection(
            directory,
            config,
            selector,
            replace(selection, warnings=warnings),
            report,
            own_rules.stop,
            _identity(directory, config, denied),
        )
    return stored


def _select(
    selector: Selector,
    targets: Sequence[TargetDirectory],
    rules: Sequence[Rules],
    queries: Sequence[QueryScan],
    config: SelectConfig,
    executor: Executor,
    progress: Progress,
    say: Callable[[str], None],
    kept: KeptArrays,
) -> list[Selection]:
    """The selection of each target."""
    pool, index = targets[0].pool, targets[0].index
    if config.search == "ivf":
        search = index_search(pool, index, config.recall, executor, progress, queries)
    else:
        search = exact_search(pool, executor, progress, say, queries)
    settings = {name: getattr(config, name) for name in selector.reads}
    # Of the stop rule, what it means for the target.
    stops = [{"stop": own_rules.stop} if "stop" in settings else {} for own_rules in rules]
    sample = partial(PoolSample.draw, pool, lengths=pool.lengths(), read_rows=RowReader(pool).vectors, keep=kept.keep)
    scan = exact_scan(pool, executor, progress, say, queries)
    requests = [
        # Whatever reads the pool, the queries ride along.
        Request(
            watched(pool, queries),
            directory.target_vectors,
            own_rules,
            settings | own_stop,
            progress,
            search,
            scan,
            sample,
        )
        for directory, own_rules, own_stop in zip(targets, rules, stops, strict=True)
    ]
    return selector.select(requests)


def _rules(
    directory: TargetDirectory, config: SelectConfig, candidates: int, filters: Filters, held_out: HeldOut
) -> Rules:
    budget, _ = config.limits()
    tau = tau_or_none(held_out)
    return Rules(
        budget=budget.of(candidates) if budget else None,
        stop=stop_in_force(config, held_out),
        reference_round=config.reference_round,
        new_filter=filters.maker(directory),
        thresholds=() if tau is None else (tau,),
    )


def _warn(directory: TargetDirectory, warnings: Sequence[str], reporter: Reporter) -> None:
    for warning in warnings:
        reporter.warn(f"{directory.name}: {warning}" if directory.name else warning)


def _identity(directory: TargetDirectory, config: SelectConfig, denied: DenyList | None) -> str:
    """A hash of all that a selection is a function of."""
    content: dict[str, Any] = identity_settings(config, "select") | {
        "deny": denied.digest if denied else None,
        "exclude": sorted(directory.exclude.finished().items()) if config.exclude else None,
        "target": sorted(directory.target.finished().items()),
        "pool": sorted(directory.pool.finished().items()),
        "version": schemas.FORMAT_VERSION,
    }
    if config.search == "ivf":
        content["index"] = index_identity(directory.index)
    if plugin := SELECTORS.identity(config.selector):
        content["plugin"] = plugin
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
