"""Parts that another run's pool holds, and that are used where they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from curator.errors import InputError, counted
from curator.io import part_files, public_name, storage
from curator.sources import Source
from curator.store import DoneMark, FileSizes, Part, PartStore, Place

if TYPE_CHECKING:
    from curator_pipelines.jobs.select.embed import EmbedJob

__all__ = ["References", "find_references"]

Sizes = Mapping[str, Mapping[tuple[int, str], FileSizes]]

NOTHING = FileSizes(0, 0)


@dataclass(frozen=True)
class References:
    """Which parts of a set other stores hold.

    Attributes:
        places: name of a source -> where its part is.
        lost: registered parts whose sources are as they were, and that no store holds as it did.
    """

    places: Mapping[str, Place] = field(default_factory=dict)
    lost: tuple[Part, ...] = ()

    def to_text(self) -> str:
        """For a person."""
        stores = sorted({place.store for place in self.places.values()})
        more = f" and {counted(len(stores) - 1, 'other store')}" if len(stores) > 1 else ""
        return f"{counted(len(self.places), 'part is', 'parts are')} read in {stores[0]}{more}, and not copied"


@dataclass(frozen=True)
class _Wanted:
    """A part that is to be used where it is.

    Attributes:
        name: of its source.
        identity: under which it must be there.
        places: store and number where it may be, the first choice first.
        content: the bytes that it had before; None for one that was not used before.
        is_given: whether the last place is one that was given to this run.
    """

    name: str
    identity: str
    places: tuple[tuple[str, int], ...]
    content: str | None
    is_given: bool


def find_references(job: EmbedJob) -> References:
    """Look up which parts are used where another run holds them, and whether all of them are as they were.

    Those are the sources that another run embedded as this run would, and the registered ones of before; not those of
    which this run has a part of its own.

    Cost: two listings of each store, and a reading of each part's done-mark.

    Raises:
        InputError: files that are given are not what their run wrote.
    """
    wanted = list(_wanted(job))
    sizes = {store: PartStore(store).file_sizes() for store in sorted({s for each in wanted for s, _ in each.places})}
    places: dict[str, Place] = {}
    lost: set[str] = set()
    damaged: list[str] = []
    with ThreadPoolExecutor(storage.REMOTE_THREADS) as threads:
        for each, place in zip(wanted, threads.map(lambda each: _find(each, sizes), wanted), strict=True):
            if place is not None:
                places[each.name] = place
            elif each.is_given:
                damaged.append(f"{each.name} in {each.places[-1][0]}")
            if each.content is not None and (place is None or place.content != each.content):
                lost.add(each.name)
    if damaged:
        raise InputError(
            f"the files of {counted(len(damaged), 'part')} of another run are not what it wrote, the first of "
            f"{damaged[0]}",
            advice="run that run's own command again first",
        )
    return References(places, tuple(part for part in job.active if part.url in lost))


def _wanted(job: EmbedJob) -> Iterator[_Wanted]:
    registered = {part.url: part for part in job.active}
    for source in job.sources:
        part = registered.get(source.name)
        if part is not None and part.part in job.own_finished:
            continue
        identity = job.part_of(source, 0).identity
        # Another identity is another state of the source, which `find_changes` tells.
        before = part.place if part is not None and part.identity == identity else None
        if source.mark and not job.refers:
            continue
        given = _given(source, identity)
        places = [*([(before.store, before.part)] if before else []), *([given] if given else [])]
        if places:
            content = before.content if before else None
            yield _Wanted(source.name, identity, tuple(dict.fromkeys(places)), content, given is not None)


def _given(source: Source, identity: str) -> tuple[str, int] | None:
    """Store and number of another run's part that is what this run would make; None where there is none."""
    store, _, name = source.mark.rpartition("/done/")
    named = part_files.parse_name(name)
    # Under another identity it lacks other images. A URL with a secret cannot be written down.
    if named is None or named[1] != identity or public_name(store) != store:
        return None
    return store, named[0]


def _find(wanted: _Wanted, sizes: Sizes) -> Place | None:
    """Where it is with the bytes that it had; else where it is at all, the place that was given before others."""
    other = None
    for store, number in wanted.places:
        try:
            mark = DoneMark.read(part_files.mark_url(store, number, wanted.identity))
        except FileNotFoundError:
            continue
        if mark.has_sizes(sizes[store].get((number, wanted.identity), NOTHING)):
            other = Place(store, number, mark.content)
            if wanted.content in (None, mark.content):
                return other
    return other
