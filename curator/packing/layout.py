"""Every output member's place, from the stored metadata alone: before a byte of a source is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import pyarrow as pa

from curator.packing import ustar
from curator.packing.names import Namer, extensions
from curator.packing.plan import OutputShard
from curator.types import Member, split_id

__all__ = ["Layout", "Place", "lay_out", "member_order", "sample_places"]

# Rows that stand as Python objects at a time.
BATCH = 1024


class Place(NamedTuple):
    """Where one member comes from and goes to.

    Attributes:
        shard: the source shard's public name.
        key: the sample's key there.
        source: byte position of the data in the source shard.
        size: bytes of data.
        sha256: what the data must hash to; empty where the metadata has no hash, as for all but the image.
        name: the member's name in the output shard; empty if there is none.
        target: byte position of the data there.
    """

    shard: str
    key: str
    source: int
    size: int
    sha256: str
    name: str = ""
    target: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """An output shard, complete but for the data.

    Attributes:
        keys: the samples' names in it, in the order of its ids.
        places: every member, in tar order.
        size: bytes of the whole archive.
    """

    keys: list[str]
    places: list[Place]
    size: int


def lay_out(shard: OutputShard, rows: pa.Table) -> Layout:
    """Lay out an output shard.

    Args:
        shard: what to pack.
        rows: its metadata rows, in the order of its ids: id, image_path, shard, sha256, members.
    """
    namer = Namer()
    keys: list[str] = []
    samples: list[list[Place]] = []
    for batch in rows.to_batches(max_chunksize=BATCH):
        for row in batch.to_pylist():
            names = _arrange(tuple(member["ext"] for member in row["members"])).names
            keys.append(namer.name(split_id(row["id"])[0], row["image_path"], names))
            samples.append(sample_places(keys[-1], row | {"key": row["image_path"]}))
    placed: list[Place] = []
    position = 0
    for index in shard.order():
        for place in samples[index]:
            target = position + ustar.BLOCK
            placed.append(place._replace(target=target))
            position = target + ustar.padded(place.size)
    return Layout(keys, placed, ustar.archive_size(position))


def member_order(members: Sequence[Member], exts: Sequence[str], image: int) -> list[int]:
    """In which order a sample's members are written: sorted by the bytes of their new extensions.

    The first image of a sample is THE image, so where another would come first, the embedded one goes
    right before it.

    Args:
        members: in the source's order.
        exts: as `names.extensions` made them.
        image: which member was embedded.

    >>> members = [Member("webp", 512, 1), Member("jpg", 1536, 1), Member("cls", 2560, 1)]
    >>> member_order(members, ["webp", "jpg", "cls"], image=0)
    [2, 0, 1]
    """
    order = sorted(range(len(exts)), key=lambda index: exts[index].encode())
    first = next((place for place, index in enumerate(order) if members[index].is_image), 0)
    if order[first] != image:
        order.remove(image)
        order.insert(first, image)
    return order


def sample_places(name: str, row: dict[str, Any]) -> list[Place]:
    """A sample's members in the order in which they are written, without targets.

    Args:
        name: the sample's name in the output shard.
        row: its shard, key, sha256 and members, as in a manifest.
    """
    members = row["members"]
    arranged = _arrange(tuple(member["ext"] for member in members))
    return [
        Place(
            row["shard"],
            row["key"],
            members[index]["offset"],
            members[index]["size"],
            row["sha256"] if index == arranged.image else "",
            f"{name}.{arranged.names[index]}",
        )
        for index in arranged.order
    ]


class _Arrangement(NamedTuple):
    """What becomes of a sample's members: their new extensions, their order, and which one was embedded."""

    names: list[str]
    order: list[int]
    image: int


@lru_cache(maxsize=1024)
def _arrange(exts: tuple[str, ...]) -> _Arrangement:
    """Of all samples with members of these extensions; most pools have few kinds."""
    members = [Member(ext, 0, 0) for ext in exts]
    names = extensions(exts)
    image = next((index for index, member in enumerate(members) if member.is_image), 0)
    return _Arrangement(names, member_order(members, names, image), image)
