"""Everything that can go wrong before work starts, found here: sources, encoder, identity, disk."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from curator import storage
from curator.embed.import_part import check_ready, ready_shape
from curator.encoders.spec import parse_spec
from curator.errors import InputError
from curator.owner import Owner
from curator.sources import Source, find_sources
from curator.urls import absolute
from curator_pipelines.config import EncodingConfig
from curator_pipelines.executors import Executor
from curator_pipelines.jobs.embed import EmbedJob, check_space
from curator_pipelines.jobs.encoding import Encoding, choose_encoding, first_images, foreign_encoding
from curator_pipelines.jobs.executor import make_executor
from curator_pipelines.progress import Reporter
from curator_pipelines.rundir import RunDirectory

__all__ = ["Prepared", "prepare"]

HOLD_IMAGES = ("tar", "folder")


@dataclass(frozen=True)
class Prepared:
    """What a run works on, checked.

    Attributes:
        run: the run directory.
        target: the job that embeds the target; None for `curator embed`.
        pool: the job that embeds the pool.
        executor: where the work runs.
        urls: public name -> URL to read, for every pool shard where they differ.
    """

    run: RunDirectory
    target: EmbedJob | None
    pool: EmbedJob
    executor: Executor
    urls: dict[str, str]

    @property
    def jobs(self) -> list[EmbedJob]:
        """The embed jobs in their order."""
        return [job for job in (self.target, self.pool) if job is not None]


def prepare(
    config: EncodingConfig,
    *,
    out: str,
    target: Sequence[str],
    pool: Sequence[str],
    redo: str | None,
    reporter: Reporter,
    needs_tars: bool = False,
    owner: Owner | None = None,
) -> Prepared:
    """Find the sources, choose the encoder and check everything against OUT. Writes nothing.

    Args:
        config: how to embed.
        out: the run directory.
        target: URLs; empty for `curator embed`.
        pool: URLs.
        redo: the stage to start anew, whose old results are not checked.
        reporter: is told the encoder.
        needs_tars: the pool's samples will be packed.
        owner: this process as OUT's owner; None for a dry run.

    Raises:
        InputError: with what, where and what to do.
    """
    out = absolute(out)
    target_sources = find_sources(target, "--target", folders=True) if target else []
    pool_sources = find_sources(pool, "--pool", folders=False)
    if any(source.url.startswith(out + "/") for source in pool_sources):
        raise InputError(f"--pool lies inside --out {out}: a run cannot be its own pool; give another --out")
    if needs_tars:
        _check_packable(pool_sources)
    everything = [*target_sources, *pool_sources]
    if any(source.kind in HOLD_IMAGES for source in everything):
        parse_spec(config.encoder)
    images = first_images(target_sources or pool_sources, "--target" if target else "--pool")
    run = RunDirectory(out, owner)
    run.check_ours()
    main = (
        choose_encoding(config, images, reporter) if any(source.kind in HOLD_IMAGES for source in everything) else None
    )
    sets = {"target": target_sources, "pool": pool_sources}
    encodings = {name: _encoding_of(sources, main) for name, sources in sets.items() if sources}
    _check_comparable(list(encodings.values()))
    target_job = EmbedJob(run, "target", target_sources, encodings["target"]) if target_sources else None
    pool_job = EmbedJob(run, "pool", pool_sources, encodings["pool"], config.min_side)
    for job in (target_job, pool_job):
        if job is not None:
            job.check(redo)
            check_space(out, job, job.todo(redo))
    executor = make_executor(config, main.device if main else "cpu", out)
    urls = {source.name: source.url for source in pool_sources if source.kind == "tar" and source.url != source.name}
    return Prepared(run, target_job, pool_job, executor, urls)


def _check_packable(sources: Sequence[Source]) -> None:
    for source in sources:
        if source.kind == "embeddings":
            raise InputError(
                f"--pool {source.name} is ready embeddings that name no shards: there is nothing to pack; "
                "add --manifest-only"
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


def _check_comparable(encodings: Sequence[Encoding]) -> None:
    dims = {encoding.dim for encoding in encodings}
    if len(dims) > 1:
        raise InputError(
            f"target and pool have embeddings of different dimensions ({' and '.join(map(str, sorted(dims)))}): "
            "they must come from one encoder"
        )
