"""What was given as target, pool or evaluation set, one thing at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from curator.errors import counted
from curator.images import HEIF_ADVICE, can_read_heif
from curator.io import Stat

__all__ = ["NOT_LOOKED_INTO", "Source", "count_left_out", "in_words"]

Kind = Literal["tar", "folder", "embeddings", "part"]


# Endings that a sentence names.
_SHOWN = 8
# Counts folders beside the tars of a store, among the files that are not read.
NOT_LOOKED_INTO = "folders"


@dataclass(frozen=True, slots=True)
class Source:
    """One thing that becomes one part.

    Attributes:
        kind: `tar`; `folder` (of images); `embeddings` (another tool's: one array and its metadata);
            `part` (of another run's pool).
        url: where to read it. For ready embeddings the array.
        name: what files call it: the URL without secrets; for a `part`, the shard it was made from.
        stat: size and version, part of its identity; of ready embeddings those of array and metadata together.
        metadata: for ready embeddings, the parquet file beside the array.
        mark: for what another run stored, its done-mark there.
        listed_in: for what another run stored, the store that lists it (`OTHER/pool`), whichever holds its files.
        made_from: for a `part`, the kind that its run made it from.
        min_side: for a `part`, the shorter side below which its run left images out.
        read_url: where it is read, or what it was made from, since it moved from where its name says; empty where it
            did not move.
        read_version: its version there; `stat` is what it was where it was first seen.
        left_out: files beside that are not read, by ending or place, and how many of each. They are no part of its
            identity.
    """

    kind: Kind
    url: str
    name: str
    stat: Stat
    metadata: str = ""
    mark: str = ""
    made_from: str = "tar"
    min_side: int = 0
    left_out: tuple[tuple[str, int], ...] = field(default=(), compare=False)
    listed_in: str = ""
    read_url: str = ""
    read_version: str = ""

    def __repr__(self) -> str:
        return self.name  # its URL may hold secrets

    @property
    def read_stat(self) -> Stat:
        """The state that it has where it is read."""
        return Stat(self.stat.size, self.read_version) if self.read_url else self.stat

    @property
    def stored_kind(self) -> str:
        """The kind that `parts.parquet` records: a part of another run is what that run made it from."""
        return self.made_from if self.kind == "part" else self.kind

    @property
    def holds_images(self) -> bool:
        """True where there are images to decode: a shard or a folder of images."""
        return self.kind in ("tar", "folder")

    @property
    def is_ready(self) -> bool:
        """True for embeddings that somebody made before: another tool's, or another run's."""
        return not self.holds_images

    @property
    def is_packable(self) -> bool:
        """True where the samples lie in a shard that is known, so that they can be packed from it."""
        return self.stored_kind == "tar"


def count_left_out(sources: Iterable[Source]) -> dict[str, int]:
    """Files beside these sources that are not read, by ending or place: the most first."""
    counts: Counter[str] = Counter()
    for source in sources:
        counts.update(dict(source.left_out))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def in_words(left_out: Sequence[tuple[str, int]]) -> str:
    """Files that are not read, as the end of a sentence; empty if there are none.

    >>> in_words([(".pdf", 8), (".mov", 2)])
    ', 10 files left out: .pdf 8, .mov 2'
    >>> in_words([("folders", 1)])
    ', 1 folder beside the shards not looked into'
    """
    folders = dict(left_out).get(NOT_LOOKED_INTO, 0)
    beside = f", {counted(folders, 'folder')} beside the shards not looked into" if folders else ""
    left_out = [each for each in left_out if each[0] != NOT_LOOKED_INTO]
    if not left_out:
        return beside
    shown = [f"{name} {count:,}" for name, count in left_out[:_SHOWN]]
    if len(left_out) > _SHOWN:
        shown.append(f"others {sum(count for _, count in left_out[_SHOWN:]):,}")
    total = sum(count for _, count in left_out)
    heic = any(name.lower() in (".heic", ".heif") for name, _ in left_out) and not can_read_heif()
    advice = f" ({HEIF_ADVICE} reads HEIC)" if heic else ""
    return f", {total:,} {'file' if total == 1 else 'files'} left out: {', '.join(shown)}{advice}{beside}"
