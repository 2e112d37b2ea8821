"""The pack job: the chosen samples' original bytes, in new shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from curator.errors import CuratorError, InputError
from curator.io import storage
from curator.io.run_lock import Owner, owned
from curator.io.storage import Stat
from curator.io.urls import absolute
from curator.packing.finish import begin_packing, finish_packing, is_packed, write_manifest_only
from curator.packing.plan import OutputShard, SelectedRows, check_packable, plan_shards
from curator.sources.find import find_sources
from curator_pipelines.config.select import PackConfig
from curator_pipelines.executors import Executor
from curator_pipelines.jobs.select.executor import make_executor
from curator_pipelines.run.progress import Reporter
from curator_pipelines.run.progress_file import recorded
from curator_pipelines.run.run_directory import RunDirectory, TargetDirectory
from curator_pipelines.run.stored_selection import StoredSelection, load_selection, stands_for
from curator_pipelines.stages.pack import PackStage

__all__ = ["Packed", "pack_all", "pack_selection", "run_pack"]


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


def pack_selection(
    run: RunDirectory,
    directory: TargetDirectory,
    stored: StoredSelection,
    *,
    shard_size: int,
    seed: int,
    manifest_only: bool,
    urls: Mapping[str, str],
    executor: Executor,
    reporter: Reporter,
) -> Packed:
    """Pack a selection into OUT/shards. Output shards that are finished are not written again.

    Raises:
        InputError: the selection cannot be packed, or OUT has not enough space.
        CuratorError: a source changed since it was embedded, or cannot be read.
    """
    chosen = SelectedRows.in_pool_order(
        stored.ids, stored.scores, stored.centroids, stored.rounds, stands_for(directory, stored)
    )
    manifest = directory.path("shards", "manifest.parquet")
    if manifest_only:
        write_manifest_only(directory.pool, chosen, directory.url)
        return Packed(0, len(chosen), manifest, "")
    check_packable(directory.pool)
    shards = plan_shards(directory.pool, chosen, shard_size, seed)
    last = max(len(shards) - 1, 0)
    pattern = directory.path("shards", f"curated-{{000000..{last:06d}}}.tar")
    if is_packed(directory.url, shards):
        reporter.say("pack: nothing changed since these shards were packed")
        return Packed(len(shards), len(chosen), manifest, pattern, len(shards), reused=True)
    _check_sources(directory, shards, urls)
    run.check_owner()
    done = begin_packing(directory.url, shards)
    todo = [shard for shard in shards if shard.number not in done]
    _check_space(directory, todo)
    _pack_all(run, PackStage(directory.url, directory.pool.url, dict(urls)), todo, executor, reporter)
    run.check_owner()
    finish_packing(directory.url, shards)
    return Packed(len(shards), len(chosen), manifest, pattern, len(done))


def _pack_all(
    run: RunDirectory, stage: PackStage, todo: Sequence[OutputShard], executor: Executor, reporter: Reporter
) -> None:
    total = sum(len(shard.chosen) for shard in todo)
    with reporter.stage("pack", total, "samples") as progress:
        failures: list[Exception] = []
        with closing(executor.map(stage, todo, on_progress=progress)) as outcomes:
            for outcome in outcomes:
                run.check_owner()
                if outcome.error is not None:
                    failures.append(outcome.error)
    if failures:
        more = f" (and {len(failures) - 1} more output shards)" if len(failures) > 1 else ""
        raise CuratorError(f"pack: {failures[0]}{more}") from failures[0]


def _check_sources(directory: TargetDirectory, shards: Sequence[OutputShard], urls: Mapping[str, str]) -> None:
    """Every shard that will be read must be the one that was embedded."""
    used = {int(part) for shard in shards for part in shard.ids >> 32}
    parts = {urls.get(part.url, part.url): part for part in directory.pool.registered() if part.part in used}
    states: dict[str, Stat] = storage.stat_many(parts)
    for url, part in parts.items():
        if url not in states:
            raise InputError(f"{part.url} is gone: the chosen samples cannot be read from it any more")
        if states[url] != part.stat:
            raise InputError(f"{part.url} changed since it was embedded: run select with --redo pool")


def _check_space(directory: TargetDirectory, todo: Sequence[OutputShard]) -> None:
    """The tars are built beside their final place, or on this machine's disk for an object store."""
    free = storage.free_bytes(directory.url)
    if free is None or not todo:
        return
    # From the first unit to all: exact sums would read the metadata of every chosen sample twice.
    members = directory.pool.rows(todo[0].ids, ["members"])["members"]
    one = sum(member["size"] + 1024 for row in members.to_pylist() for member in row)
    needed = one * sum(len(shard.chosen) for shard in todo) // len(todo[0].chosen)
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
    with owned(out) as owner, recorded(reporter, out):
        return _run_pack(config, reporter, owner)


def _run_pack(config: PackConfig, reporter: Reporter, owner: Owner) -> dict[str, Packed]:
    run = RunDirectory(absolute(config.out), owner)
    if not run.record:
        raise InputError(f"{run.url} holds no finished selection: run curator select first")
    selections = {}
    for directory in run.target_directories():
        stored = load_selection(directory)
        if stored is None:
            raise InputError(f"{directory.url} holds no finished selection: run curator select first")
        selections[directory.name] = stored
    sources = find_sources(config.pool, "--pool", folders=False) if config.pool else []
    return pack_all(
        run,
        selections,
        shard_size=config.shard_size,
        seed=config.seed,
        manifest_only=config.manifest_only,
        urls={source.name: source.url for source in sources},
        executor=make_executor(config, "cpu", run.url),
        reporter=reporter,
    )


def pack_all(run: RunDirectory, selections: Mapping[str, StoredSelection], **settings: Any) -> dict[str, Packed]:
    """Pack the selection of each target, by name, and note it in run.json. For the settings see `pack_selection`."""
    packed = {}
    for name, stored in selections.items():
        with run.stage(f"{name}/pack" if name else "pack") as state:
            packed[name] = pack_selection(run, run.target_directory(name), stored, **settings)
            state |= packed[name].to_json()
    return packed
