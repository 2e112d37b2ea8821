"""The contact sheets of `curator search` and `curator dedup`: samples of the pool with their similarities."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from curator.io import public_name
from curator.store import PartReader
from curator_pipelines.jobs.pictures import (
    Album,
    Band,
    Original,
    Picture,
    Thumbnails,
    Tile,
    read_thumbnails,
    tile_of,
    write_sheet,
)
from curator_pipelines.run import Reporter

__all__ = ["NearPair", "file_name", "write_hits_sheet", "write_pairs_sheet"]

# A sheet of a search shows at most so many images.
HITS = 96
# A pair: the sample that repeats, the one that stays, and their similarity.
NearPair = tuple[int, int, float]


def write_hits_sheet(
    url: str,
    store: PartReader,
    hits: Sequence[tuple[int, float]],
    question: str,
    asked: Original | int | None,
    reporter: Reporter,
) -> bool:
    """Draw the question's image, and the hits in their order.

    Args:
        url: where the sheet goes.
        store: the pool.
        hits: id and similarity of each.
        question: in words, as they stand in its title.
        asked: the image that was asked with: a file, or the id of a sample of the pool; None for words.
        reporter: told what could not be drawn; it ends no search.

    Returns:
        whether a sheet was written.
    """
    pictures = [Picture("pool", row, score) for row, score in hits[:HITS]]
    of_pool = [Picture("pool", asked)] if isinstance(asked, int) else []
    shown = f", the first {HITS} of them" if len(hits) > HITS else ""

    def draw() -> bool:
        album = _filled(store, [*of_pool, *pictures], reporter)
        query = [tile_of(album.of(picture)) for picture in of_pool]
        if isinstance(asked, Original):
            found = read_thumbnails([asked])
            _tell_missing(found, reporter)
            image = found.images[0]
            query = [Tile(image.large if image else None, (file_name(asked.shard),), found.missing[0])]
        bands = [
            Band("The question", query),
            Band("What is most like it, best first", [tile_of(album.of(picture)) for picture in pictures]),
        ]
        legend = "Below each image: its similarity to the question, and its key."
        return write_sheet(url, f"Search: {question}; best {len(hits):,}{shown}", legend, bands)

    return _drawn(draw, reporter)


def file_name(url: str) -> str:
    """The last part of a URL, without what may be secret."""
    return public_name(url).rpartition("/")[2].partition("?")[0]


def write_pairs_sheet(
    url: str, store: PartReader, title: str, legend: str, bands: Mapping[str, Sequence[NearPair]], reporter: Reporter
) -> bool:
    """Draw pairs of samples side by side, below a heading each kind.

    Returns:
        whether a sheet was written; what could not be drawn is told, and ends no command.
    """

    def draw() -> bool:
        pairs = [pair for listed in bands.values() for pair in listed]
        album = _filled(store, [Picture("pool", row) for pair in pairs for row in pair[:2]], reporter)
        return write_sheet(
            url,
            title,
            legend,
            [
                Band(heading, [tile for pair in listed for tile in _tiles(album, pair)], group=2)
                for heading, listed in bands.items()
            ],
        )

    return _drawn(draw, reporter)


def _tiles(album: Album, pair: NearPair) -> list[Tile]:
    row, match, similarity = pair
    first, second = album.of(Picture("pool", row)), album.of(Picture("pool", match))
    return [tile_of(first, f"{similarity:.4f}", first.key), tile_of(second, "", second.key)]


def _drawn(draw: Callable[[], bool], reporter: Reporter) -> bool:
    """Whether a sheet was drawn; one that fails is a warning."""
    try:
        return draw()
    except Exception as error:
        reporter.warn(f"the contact sheet was not written: {type(error).__name__}: {error}")
        return False


def _filled(store: PartReader, pictures: Sequence[Picture], reporter: Reporter) -> Album:
    album = Album({"pool": store})
    album.ask(pictures)
    album.fill()
    _tell_missing(album.thumbnails, reporter)
    return album


def _tell_missing(thumbnails: Thumbnails, reporter: Reporter) -> None:
    for reason, count in thumbnails.failures:
        reporter.warn(f"contact sheet: {count:,} pictures are not shown: {reason}")
