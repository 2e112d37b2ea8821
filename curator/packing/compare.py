"""One packed shard, or the unpacked rows of a manifest, against the sources, byte by byte."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from curator.errors import CuratorError
from curator.io import storage
from curator.packing.layout import Place, sample_places
from curator.packing.ranges import fetch, plan_reads
from curator.packing.write import ImageHash
from curator.sources.tar import read_samples
from curator.types import LedgerLine

__all__ = ["compare_images", "compare_tar"]


def compare_tar(url: str, rows: Sequence[dict[str, Any]], urls: Mapping[str, str]) -> Iterator[str]:
    """How a packed shard differs from its rows of the manifest and from the sources; nothing if it does not.

    Memory: one read of a source (see `ranges.fetch`) and the shard's members without their data. A remote
    tar is copied to local disk first.

    Args:
        url: the tar.
        rows: its rows of the manifest, in tar order.
        urls: where to read a source shard, if not under its public name.

    Yields:
        One line for each difference.
    """
    tar = url.rpartition("/")[2]
    expected = [place for row in rows for place in sample_places(row["out_key"], row)]
    with _local_copy(url) as path, open(path, "rb") as file:
        found: dict[str, tuple[int, int]] = {}
        yield from _read_structure(file, tar, found)
        yield from _compare_structure(tar, expected, found)
        there = [place for place in expected if found.get(place.name, (0, -1))[1] == place.size]
        yield from _compare_data(file, tar, there, found, urls)


def compare_images(rows: Sequence[dict[str, Any]], urls: Mapping[str, str]) -> Iterator[str]:
    """Which images of an unpacked manifest are not in their sources as they were when they were embedded.

    Args:
        rows: of the manifest, in any order; those that name no bytes are skipped.
        urls: where to read a source shard, if not under its public name.

    Yields:
        One line for each difference.
    """
    places = [
        Place(row["shard"], row["key"], row["offset"], row["size"], row["sha256"])
        for row in rows
        if row["offset"] is not None and row["sha256"]
    ]
    image = ImageHash()
    with _as_line() as lines:
        for read, data in fetch(plan_reads(places), urls):
            for place, start, piece in read.pieces(data):
                if image.add(place, start, piece) not in (None, place.sha256):
                    yield _stale(place)
    yield from lines


def _read_structure(file: BinaryIO, tar: str, found: dict[str, tuple[int, int]]) -> Iterator[str]:
    """Fill `found` with name -> (offset, size), in tar order."""
    for entry in read_samples(file, tar, keep=lambda member: False):
        if isinstance(entry, LedgerLine):
            yield f"{tar}: {entry.reason} at byte {entry.offset} ({entry.key or 'no key'}): {entry.detail}"
            continue
        for member in entry.members:
            found[f"{entry.key}.{member.ext}"] = (member.offset, member.size)


def _compare_structure(tar: str, expected: Sequence[Place], found: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    names = {place.name for place in expected}
    for name in (name for name in found if name not in names):
        yield f"{tar}: holds {name}, which the manifest does not"
    for place in expected:
        if place.name not in found:
            yield f"{tar}: {place.name} of the manifest is missing"
        elif found[place.name][1] != place.size:
            yield f"{tar}: {place.name} has {found[place.name][1]} bytes, its source {place.size}"
    # A row that the manifest has twice is told by its id.
    both = list(dict.fromkeys(place.name for place in expected if place.name in found))
    order = [name for name in found if name in names]
    for wanted, name in zip(both, order, strict=True):
        if wanted != name:
            yield f"{tar}: {name} stands where the manifest has {wanted}: another order"
            return


def _compare_data(
    file: BinaryIO,
    tar: str,
    places: Sequence[Place],
    found: Mapping[str, tuple[int, int]],
    urls: Mapping[str, str],
) -> Iterator[str]:
    image, differing = ImageHash(), ""
    with _as_line() as lines:
        for read, data in fetch(plan_reads(places), urls):
            for place, start, piece in read.pieces(data):
                if place.sha256 and image.add(place, start, piece) not in (None, place.sha256):
                    yield _stale(place)
                file.seek(found[place.name][0] + start)
                if differing != place.name and file.read(len(piece)) != piece:
                    differing = place.name
                    yield f"{tar}: {place.name} differs from its source, {place.key} of {place.shard}"
    yield from lines


def _stale(place: Place) -> str:
    return f"{place.shard}: {place.key}: its image has another sha256 than when it was embedded"


@contextlib.contextmanager
def _as_line() -> Iterator[list[str]]:
    """An unreadable or changed source is a difference like any other, not the end of the comparison."""
    lines: list[str] = []
    try:
        yield lines
    except CuratorError as error:
        lines.append(str(error))


@contextlib.contextmanager
def _local_copy(url: str) -> Iterator[Path]:
    if storage.is_local(url):
        yield storage.local_path(url)
        return
    with tempfile.TemporaryDirectory(prefix="curator-") as folder:
        path = Path(folder) / "shard.tar"
        with storage.open_stream(url) as source, open(path, "wb") as file:
            shutil.copyfileobj(source, file, 8 << 20)
        yield path
