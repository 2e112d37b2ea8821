"""Everything that can go wrong before work starts, found here: sources, encoder, identity, disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from curator.encoders.spec import parse_spec
from curator.errors import InputError
from curator.io import storage
from curator.io.run_lock import Owner
from curator.io.urls import absolute
from curator.sources.find import find_sources
from curator.sources.source import Source
from curator.store.import_embeddings import check_ready, ready_shape
from curator_pipelines.config.select import EncodingConfig
from curator_pipelines.executors import Executor
from curator_pipelines.jobs.select.embed import EmbedJob, check_space
from curator_pipelines.jobs.select.encoding import Encoding, choose_encoding, first_images, foreign_encoding
from curator_pipelines.jobs.select.executor import executor_begun, make_executor
from curator_pipelines.jobs.select.index import pool_index
from curator_pipelines.run.progress import Reporter
from curator_pipelines.run.run_directory import RunDirectory, TargetDirectory

__all__ = ["HOLD_IMAGES", "Prepared", "prepare"]

HOLD_IMAGES = ("tar", "folder")


@dataclass(frozen=True)
class Prepared:
    """What a run works on, checked.

    Attributes:
        run: the run directory.
        targets: the jobs that embed the targets, by name; none for `curator embed`.
        pool: the job that embeds the pool.
        exclude: the job that embeds the evaluation images, if there are any.
        executor: where the work runs.
        urls: public name -> URL to read, for every pool shard where they differ.
    """

    run: RunDirectory
    targets: dict[str, EmbedJob]
    pool: EmbedJob
    exclude: EmbedJob | None
    executor: Executor
    urls: dict[str, str]

    @property
    def jobs(self) -> list[EmbedJob]:
        """The embed jobs in their order."""
        return [*self.targets.values(), self.pool, *([self.exclude] if self.exclude else [])]

    @property
    def directories(self) -> list[TargetDirectory]:
        """Where each target's results go, and which index the pool has."""
        index = pool_index(self.run, self.pool.sources)
        return [replace(self.run.target_directory(name), index=index) for name in self.targets]


def prepare(
    config: EncodingConfig,
    *,
    out: str,
    pool: Sequence[str],
    redo: str | None,
    reporter: Reporter,
    targets: Mapping[str, Sequence[str]] | None = None,
    exclude: Sequence[str] = (),
    needs_tars: bool = False,
    owner: Owner | None = None,
) -> Prepared:
    """Find the sources, choose the encoder and check everything against OUT. Writes nothing.

    Args:
        config: how to embed.
        out: the run directory.
        pool: URLs.
        redo: the stage to start anew, whose old results are not checked.
        reporter: is told the encoder.
        targets: name -> URLs; the name of an only target is empty. None for `curator embed`.
        exclude: URLs of evaluation images.
        needs_tars: the pool's samples will be packed.
        owner: this process as OUT's owner; None for a dry run.

    Raises:
        InputError: with what, where and what to do.
    """
    out = absolute(out)
    run = RunDirectory(out, owner)
    sets = _find_sets(run, targets or {}, pool, exclude)
    if needs_tars:
        _check_packable(sets["pool"])
    if config.min_side:
        _check_sizes_known(sets["pool"])
    everything = [source for sources in sets.values() for source in sources]
    if any(source.kind in HOLD_IMAGES for source in everything):
        parse_spec(config.encoder)
    first = [source for name, sources in sets.items() if name not in ("pool", "exclude") for source in sources]
    images = first_images(first or sets["pool"], "--target" if first else "--pool")
    run.check_ours()
    if targets:
        run.check_targets(list(targets))
    with executor_begun(config):
        holds_images = any(source.kind in HOLD_IMAGES for source in everything)
        main = choose_encoding(config, images, reporter) if holds_images else None
    encodings = {name: _encoding_of(sources, main) for name, sources in sets.items()}
    _check_comparable(encodings)
    jobs = {
        name: EmbedJob(run, name, sources, encodings[name], config.min_side if name == "pool" else 0)
        for name, sources in sets.items()
    }
    for job in jobs.values():
        job.check(redo)
        check_space(out, job, job.todo(redo))
    executor = make_executor(config, main.device if main else "cpu", out)
    urls = {source.name: source.url for source in sets["pool"] if source.kind == "tar" and source.url != source.name}
    target_jobs = {name: jobs[_target_set(name)] for name in targets or {}}
    return Prepared(run, target_jobs, jobs["pool"], jobs.get("exclude"), executor, urls)


def _target_set(name: str) -> str:
    return f"{name}/target" if name else "target"


def _find_sets(
    run: RunDirectory, targets: Mapping[str, Sequence[str]], pool: Sequence[str], exclude: Sequence[str]
) -> dict[str, list[Source]]:
    """Where parts go below OUT -> what they are made from, in the order in which they are embedded."""
    sets = {_target_set(name): find_sources(urls, "--target", folders=True) for name, urls in targets.items()}
    sets["pool"] = find_sources(pool, "--pool", folders=False)
    if any(source.url.startswith(run.url + "/") for source in sets["pool"]):
        raise InputError(f"--pool lies inside --out {run.url}: a run cannot be its own pool; give another --out")
    if exclude:
        sets["exclude"] = find_sources(exclude, "--exclude", folders=True)
    return sets


def _check_packable(sources: Sequence[Source]) -> None:
    for source in sources:
        if source.kind == "embeddings":
            raise InputError(
                f"--pool {source.name} is ready embeddings that name no shards: there is nothing to pack; "
                "add --manifest-only"
            )
        if source.stored_kind == "folder":
            raise InputError(
                f"--pool {source.url}: embeddings of the folder {source.name}: only shards can be packed from; "
                "add --manifest-only"
            )


def _check_sizes_known(sources: Sequence[Source]) -> None:
    for source in sources:
        if source.kind == "embeddings":
            raise InputError(
                f"--min-side: nobody knows how large the images of {source.url} are: leave it out, or give their shards"
            )


def _encoding_of(sources: Sequence[Source], main: Encoding | None) -> Encoding:
    """The encoding of one set: the run's encoder if it holds images, else what its embeddings came with."""
    ready = [source for source in sources if source.kind not in HOLD_IMAGES]
    foreign = foreign_encoding(sources)
    if main is not None and foreign is not None and foreign != main.identity:
        raise InputError(
            f"{ready[0].url} was embedded by another encoder ({foreign}) than this run's ({main.identity}): "
            "give the same --encoder, --weights and --precision"
        )
    if len(ready) < len(sources):
        assert main is not None
        encoding = main
    else:
        identity = foreign or {"ready": "embeddings"}
        encoding = Encoding(None, identity, ready_shape(ready[0])[1], "cpu", "none", "ready embeddings")
    with ThreadPoolExecutor(storage.REMOTE_THREADS) as threads:
        for source, (_, dim) in zip(ready, threads.map(ready_shape, ready), strict=True):
            if dim != encoding.dim:
                raise InputError(f"{source.url} has {dim} dimensions, {encoding.dim} are needed beside it")
        list(threads.map(check_ready, ready))
    return encoding


def _check_comparable(encodings: Mapping[str, Encoding]) -> None:
    dims = {encoding.dim for encoding in encodings.values()}
    if len(dims) > 1:
        raise InputError(
            f"{', '.join(encodings)} have embeddings of different dimensions ({' and '.join(map(str, sorted(dims)))}): "
            "they must come from one encoder"
        )
