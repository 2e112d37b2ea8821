"""The pictures of a page or a sheet: which samples are shown, under which names, and their thumbnails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from curator.io import printable, public_name
from curator.store import PartReader
from curator_pipelines.jobs.pictures.thumbnails import Original, Thumbnail, Thumbnails, read_thumbnails

__all__ = ["MAX_PICTURES", "Album", "Picture", "Strip"]

# Of one page, so that it stays below 10 MB whatever the pool: about 5 kB each.
MAX_PICTURES = 800
COLUMNS = ["shard", "image_path", "offset", "size", "sha256"]


@dataclass(frozen=True)
class Picture:
    """A sample somewhere on a page or a sheet.

    Attributes:
        set: which samples it is one of, such as `target`, `pool` or `exclude`.
        id: its id there.
        score: of the sample in its place; None where there is none.
        note: what else there is to say.
        key: its key, when it is known.
        shard: the public name of its source, when it is known.
        thumbnail: None where there is none.
        missing: why there is none.
    """

    set: str
    id: int
    score: float | None = None
    note: str = ""
    key: str = ""
    shard: str = ""
    thumbnail: Thumbnail | None = None
    missing: str = ""

    @property
    def name(self) -> str:
        """By which the page refers to it."""
        return f"{self.set}-{self.id}"

    @property
    def image(self) -> str:
        """Its thumbnail as a data URL; empty where there is none."""
        return self.thumbnail.url if self.thumbnail else ""

    @property
    def caption(self) -> str:
        """What a reader is told of it."""
        score = "" if self.score is None else f"score {self.score:.4f}"
        said = (score, self.note, self.key, self.shard, f"not shown: {self.missing}" if self.missing else "")
        return " · ".join(part for part in said if part)


@dataclass(frozen=True)
class Strip:
    """A row of pictures.

    Attributes:
        title: what they are.
        pictures: from left to right.
        note: what to know of them.
    """

    title: str
    pictures: Sequence[Picture]
    note: str = ""


class Album:
    """Gives pictures their names and thumbnails, those asked for first while there is room and time.

    Args:
        stores: `Picture.set` -> the parts that such a picture is of.
    """

    def __init__(self, stores: Mapping[str, PartReader]) -> None:
        self._stores = stores
        self._asked: list[Picture] = []
        self._ready: dict[str, Picture] = {}
        self.thumbnails = Thumbnails()

    def ask(self, pictures: Iterable[Picture]) -> list[Picture]:
        """Pictures that a section wants to show, in order of importance; those beyond the page's room are left out."""
        room = MAX_PICTURES - len(self._asked)
        taken = list(pictures)[:room]
        self._asked += taken
        return taken

    def fill(self) -> None:
        """Read the names and thumbnails of all pictures that were asked for."""
        distinct = list({picture.name: picture for picture in self._asked}.values())
        originals = {picture.name: original for picture, original in self._originals(distinct)}
        self.thumbnails = read_thumbnails([originals[picture.name] for picture in distinct])
        for picture, image, missing in zip(distinct, self.thumbnails.images, self.thumbnails.missing, strict=True):
            original = originals[picture.name]
            self._ready[picture.name] = replace(
                picture,
                key=printable(original.key),
                shard=public_name(original.shard),
                thumbnail=image,
                missing=missing,
            )

    def of(self, picture: Picture) -> Picture:
        """The same with its name and thumbnail, after `fill`."""
        ready = self._ready.get(picture.name)
        if ready is None:
            return replace(picture, missing="there is no room for more pictures")
        return replace(ready, score=picture.score, note=picture.note)

    def __contains__(self, picture: Picture) -> bool:
        return any(picture.name == asked.name for asked in self._asked)

    def strip(self, strip: Strip) -> Strip:
        """The same for all pictures of a strip."""
        return replace(strip, pictures=[self.of(picture) for picture in strip.pictures])

    def _originals(self, pictures: Sequence[Picture]) -> Iterator[tuple[Picture, Original]]:
        for name, store in self._stores.items():
            own = [picture for picture in pictures if picture.set == name]
            if not own:
                continue
            kinds, urls = {part.url: part.kind for part in store.registered()}, store.moved_urls()
            rows = store.rows(np.array([picture.id for picture in own], np.int64), COLUMNS)
            for picture, row in zip(own, rows.to_pylist(), strict=True):
                kind, url = kinds.get(row["shard"], "tar"), urls.get(row["shard"], "")
                place = (row["offset"], row["size"], row["sha256"])
                yield picture, Original(kind, row["shard"], row["image_path"], *place, url)
