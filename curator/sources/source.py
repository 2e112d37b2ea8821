"""What was given as target, pool or evaluation set, one thing at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from curator.io import Stat

__all__ = ["Source"]

Kind = Literal["tar", "folder", "embeddings", "part"]


@dataclass(frozen=True, slots=True)
class Source:
    """One thing that becomes one part.

    Attributes:
        kind: `tar`; `folder` (of images); `embeddings` (another tool's: one array and its metadata);
            `part` (of another run's pool).
        url: where to read it. For ready embeddings the array.
        name: what files call it: the URL without secrets; for a `part`, the shard it was made from.
        stat: size and version, part of its identity.
        metadata: for ready embeddings, the parquet file beside the array.
        made_from: for a `part`, the kind that its run made it from.
    """

    kind: Kind
    url: str
    name: str
    stat: Stat
    metadata: str = ""
    made_from: str = "tar"

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
