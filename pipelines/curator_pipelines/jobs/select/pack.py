"""The pack job: the chosen samples' original bytes, in new shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from curator.errors import CuratorError, InputError, Redo, UnusableInput
from curator.io import Owner, Stat, absolute, owned, storage
from curator.packing import (
    OutputShard,
    SelectedRows,
    begin_packing,
    check_packable,
    finish_packing,
    is_packed,
    plan_shards,
    write_manifest_only,
)
from curator.store import PartReader, unversioned
from curator.types import parts_of
from curator_pipelines.config import PackConfig
from curator_pipelines.executors import Executor, FailuresInARow
from curator_pipelines.jobs.measure import RunSources, find_run_sources, make_executor
from curator_pipelines.run import (
    Reporter,
    RunDirectory,
    StoredSelection,
    TargetDirectory,
    load_selection,
    recorded,
    stands_for,
)
from curator_pipelines.stages import PackStage

__all__ = ["PackSettings", "Packed", "pack_all", "pack_selection", "run_pack"]


@dataclass(frozen=True)
class Packed:
    """What packing left.

    Attributes:
        shards: output shards.
        samples: in all of them.
        manifest: URL of the manifest.
        pattern: the shards as a brace range; empty where only the manifest was asked for.
        resumed: output shards that were finished before.
        reused: nothing had changed, nothing was written.
    """

    shards: int
    samples: int
    manifest: str
    pattern: str
    resumed: int = 0
    reused: bool = False

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def to_text(self) -> str:
        """For a person."""
        if not self.pattern:
            return f"{self.manifest} ({self.samples:,} samples, no tars)"
        return f"{self.pattern} ({self.samples:,} samples; {self.manifest.rpartition('/')[2]} and sizes.json beside)"


@dataclass(frozen=True)
class PackSettings:
    """How a selection is packed.

    Attributes:
        shard_size: samples an output shard.
        seed: of the order inside output shards.
        manifest_only: write no tars.
    """

    shard_size: int
    seed: int
    manifest_only: bool


def pack_selection(
    run: RunDirectory,
    directory: TargetDirectory,
    stored: StoredSelection,
    settings: PackSettings,
    sources: RunSources | None,
    executor: Executor,
    reporter: Reporter,
) -> Packed:
    """Pack a selection into OUT/shards. Output shards that are finished are not written again.

    Args:
        run: the run directory.
        directory: where the target's results are.
        stored: its selection.
        settings: how to pack.
        sources: where the pool was found; None where it is read under its public names.
        executor: where the work runs.
        reporter: is told how far it is.

    Raises:
        InputError: the selection cannot be packed, or OUT has not enough space.
        CuratorError: a source changed since it was embedded, or cannot be read.
    """
    chosen = SelectedRows.in_pool_order(
        stored.ids, stored.scores, stored.anchors, stored.rounds, stands_for(directory, stored)
    )
    manifest = directory.path("shards", "manifest.parquet")
    if settings.manifest_only:
        write_manifest_only(directory.pool, chosen, directory.url)
        return Packed(0, len(chosen), manifest, "")
    check_packable(directory.pool)
    shards = plan_shards(directory.pool, chosen, settings.shard_size, settings.seed)
    last = max(len(shards) - 1, 0)
    pattern = directory.path("shards", f"curated-{{000000..{last:06d}}}.tar")
    if is_packed(directory.url, shards):
        reporter.say("pack: nothing changed since these shards were packed")
        return Packed(len(shards), len(chosen), manifest, pattern, len(shards), reused=True)
    given = sources.pool_urls if sources else {}
    moved = directory.pool.moved_urls()
    # A place that was given may hold a secret, which is not written down.
    urls = given | {name: given.get(place, place) for name, place in moved.items()}
    _check_sources(directory.pool, shards, urls, sources.pool_states if sources else {})
    if warning := unversioned({name: state for shard in shards for name, state in shard.states.items()}):
        reporter.warn(f"pack: {warning}")
    run.check_owner()
    done = begin_packing(directory.url, shards)
    todo = [shard for shard in shards if shard.number not in done]
    _check_space(directory, todo)
    _pack_all(run, PackStage(directory.url, directory.pool.files(), urls), todo, executor, reporter)
    run.check_owner()
    finish_packing(directory.url, shards)
    return Packed(len(shards), len(chosen), manifest, pattern, len(done))


def _pack_all(
    run: RunDirectory, stage: PackStage, todo: Sequence[OutputShard], executor: Executor, reporter: Reporter
) -> None:
    total = sum(len(shard.chosen) for shard in todo)
    with reporter.stage("pack", total, "samples") as progress:
        failures: list[Exception] = []
        in_a_row = FailuresInARow()
        with closing(executor.map(stage, todo, on_progress=progress)) as outcomes:
            for outcome in outcomes:
                run.check_owner()
                if outcome.error is not None:
                    failures.append(outcome.error)
                if in_a_row.add(outcome):
                    break
    if failures:
        more = f" (and {len(failures) - 1} more output shards)" if len(failures) > 1 else ""
        raise CuratorError(f"pack: {failures[0]}{more}") from failures[0]


def _check_sources(
    pool: PartReader, shards: Sequence[OutputShard], urls: Mapping[str, str], known: Mapping[str, Stat]
) -> None:
    """Every shard that will be read must be the one that was embedded; those looked at before are not asked again."""
    used = set(np.unique(np.concatenate([parts_of(shard.ids) for shard in shards])).tolist()) if shards else set()
    parts = [part for part in pool.registered() if part.part in used]
    urls_to_look_at = {part.url: urls.get(part.url, part.url) for part in parts if part.source_url not in known}
    states = storage.stat_many(urls_to_look_at.values())
    for part in parts:
        state = known.get(part.source_url) or states.get(urls_to_look_at[part.url])
        if state is None:
            raise UnusableInput(
                f"{part.source_url} is gone: the chosen samples cannot be read from it any more",
                advice="relocate this run if it moved",
            )
        if state != part.source_stat:
            raise UnusableInput(f"{part.source_url} changed since it was embedded", advice=Redo("pool"))


def _check_space(directory: TargetDirectory, todo: Sequence[OutputShard]) -> None:
    """The tars are built beside their final place, or on this machine's disk for an object store."""
    free = storage.free_bytes(directory.url)
    if free is None or not todo:
        return
    # From the first unit to all: exact sums would read the metadata of every chosen sample twice.
    members = directory.pool.rows(todo[0].ids, ["members"])["members"]
    first_bytes = sum(member["size"] + 1024 for row in members.to_pylist() for member in row)
    needed = first_bytes * sum(len(shard.chosen) for shard in todo) // len(todo[0].chosen)
    if needed > free:
        raise CuratorError(
            f"{directory.url}: the shards need about {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free: make room "
            "and run again, or choose less"
        )


def run_pack(config: PackConfig, reporter: Reporter) -> dict[str, Packed]:
    """`curator pack`: pack the selections of a finished run again; target name -> what was packed.

    Raises:
        InputError: there is no finished selection.
    """
    out = absolute(config.out)
    with owned(out) as owner, recorded(reporter, out, owner, config.metrics_file):
        return _run_pack(config, reporter, owner)


def _run_pack(config: PackConfig, reporter: Reporter, owner: Owner) -> dict[str, Packed]:
    run = RunDirectory(absolute(config.out), owner)
    selections = {}
    targets = run.target_directories() if run.record else []
    for directory in targets:
        if (stored := load_selection(directory)) is not None:
            selections[directory.name] = stored
    if not targets or len(selections) < len(targets):
        raise InputError("no finished selection is there: select first", field="out", value=run.url)
    sources = find_run_sources(run.url, pool=config.pool) if config.pool else None
    settings = PackSettings(config.shard_size, config.seed, config.manifest_only)
    executor = make_executor(config, "cpu", run.url)
    return pack_all(run, targets, selections, settings, sources, executor, reporter)


def pack_all(
    run: RunDirectory,
    targets: Sequence[TargetDirectory],
    selections: Mapping[str, StoredSelection],
    settings: PackSettings,
    sources: RunSources | None,
    executor: Executor,
    reporter: Reporter,
) -> dict[str, Packed]:
    """Pack the selection of each target, by name, and note it in run.json. For the arguments see `pack_selection`."""
    packed = {}
    for directory in targets:
        name = directory.name
        with run.stage(f"{name}/pack" if name else "pack") as state:
            packed[name] = pack_selection(run, directory, selections[name], settings, sources, executor, reporter)
            state |= packed[name].to_json()
    return packed
