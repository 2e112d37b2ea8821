"""What the URLs of a run stand for: looked up once, and handed on to everything that follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from curator.errors import Another, InputError, Leave, Use
from curator.io import Stat
from curator.sources import Source, find_sources
from curator_pipelines.run import target_set

__all__ = ["RunSources", "find_run_sources"]


@dataclass(frozen=True)
class RunSources:
    """The sources of a run, by set.

    Attributes:
        targets: target name -> its sources; the name of an only target is empty. None of them for `curator embed`.
        pool: what is chosen from.
        exclude: the evaluation images.
    """

    targets: Mapping[str, Sequence[Source]]
    pool: Sequence[Source]
    exclude: Sequence[Source]

    @property
    def sets(self) -> dict[str, Sequence[Source]]:
        """Where parts go below OUT -> what they are made from, in the order in which they are embedded."""
        sets = {target_set(name): sources for name, sources in self.targets.items()} | {"pool": self.pool}
        return sets | ({"exclude": self.exclude} if self.exclude else {})

    @property
    def of_targets(self) -> list[Source]:
        """The sources of all targets."""
        return [source for sources in self.targets.values() for source in sources]

    @property
    def everything(self) -> list[Source]:
        """The sources of all sets."""
        return [*self.of_targets, *self.pool, *self.exclude]

    @property
    def pool_urls(self) -> dict[str, str]:
        """Public name -> URL to read, for every pool shard where they differ."""
        shards = (source for source in self.pool if source.kind == "tar")
        return {source.name: source.url for source in shards if source.url != source.name}

    @property
    def pool_states(self) -> dict[str, Stat]:
        """Public name -> state of every pool shard that was looked at; those behind another run's parts were not."""
        return {source.name: source.stat for source in self.pool if source.kind == "tar"}


def find_run_sources(
    out: str,
    *,
    pool: Sequence[str],
    targets: Mapping[str, Sequence[str]] | None = None,
    exclude: Sequence[str] = (),
    packs: bool = False,
    min_side: int = 0,
) -> RunSources:
    """Find everything that a run was given, and check whether the pool is of the kind it must be.

    Args:
        out: the run directory.
        pool: URLs.
        targets: target name -> URLs.
        exclude: URLs of evaluation images.
        packs: whether the pool's samples will be packed.
        min_side: images with a shorter side are left out, so sizes must be known.

    Raises:
        InputError: a URL stands for nothing, or for something that cannot be used here.
    """
    sources = RunSources(
        {name: find_sources(urls, "target", folders=True) for name, urls in (targets or {}).items()},
        find_sources(pool, "pool", folders=False),
        find_sources(exclude, "exclude", folders=True) if exclude else (),
    )
    if any(source.url.startswith(out + "/") for source in sources.pool):
        raise InputError(f"it lies inside {out}: a run cannot be its own pool", field="pool", advice=Another("out"))
    if packs:
        _check_packable(sources.pool)
    if min_side:
        _check_sizes_known(sources.pool)
    return sources


def _check_packable(sources: Sequence[Source]) -> None:
    for source in sources:
        if source.kind == "embeddings":
            raise InputError(
                "ready embeddings that name no shards: there is nothing to pack",
                field="pool",
                value=source.name,
                advice=Use("manifest_only", True),
            )
        if not source.is_packable:
            raise InputError(
                f"embeddings of the folder {source.name}: only shards can be packed from",
                field="pool",
                value=source.url,
                advice=Use("manifest_only", True),
            )


def _check_sizes_known(sources: Sequence[Source]) -> None:
    for source in sources:
        if source.kind == "embeddings":
            raise InputError(
                f"nobody knows how large the images of {source.url} are",
                field="min_side",
                advice=(Leave("min_side"), "give their shards"),
            )
