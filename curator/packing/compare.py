"""Comparison of an output shard, or of a manifest without tars, with the source shards, byte by byte."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from curator.errors import CuratorError
from curator.io import storage
from curator.packing.layout import MemberCopy, SampleRange, sample_copies, sample_ranges
from curator.packing.ranges import fetch_reads, plan_reads
from curator.packing.write import ChunkHash
from curator.sources import read_samples
from curator.types import LedgerLine

__all__ = ["compare_images", "compare_tar"]


def compare_tar(url: str, rows: Sequence[dict[str, Any]], urls: Mapping[str, str]) -> Iterator[str]:
    """How an output shard differs from its rows of the manifest and from the sources; nothing if it does not.

    Memory: one read of a source (see `ranges.fetch_reads`) and the shard's members without their data. A remote
    tar is copied to local disk first.

    Args:
        url: the URL of the tar.
        rows: the rows of the manifest that belong to it, in tar order.
        urls: public name of a source shard -> URL to read it from, where they differ.

    Yields:
        One line for each difference.
    """
    tar = url.rpartition("/")[2]
    expected = [copy for row in rows for copy in sample_copies(row["out_key"], row)]
    with _local_copy(url) as path, open(path, "rb") as file:
        ranges: dict[str, tuple[int, int]] = {}
        yield from _read_structure(file, tar, ranges)
        yield from _compare_structure(tar, expected, ranges)
        comparable = [copy for copy in expected if ranges.get(copy.name, (0, -1))[1] == copy.size]
        yield from _compare_data(file, tar, comparable, ranges, urls)


def compare_images(rows: Sequence[dict[str, Any]], urls: Mapping[str, str]) -> Iterator[str]:
    """Which samples of an unpacked manifest are not in their sources as they were when they were embedded.

    Args:
        rows: rows of the manifest, in any order. Rows that name no bytes are not compared.
        urls: public name of a source shard -> URL to read it from, where they differ.

    Yields:
        One line for each difference.
    """
    copies = [
        MemberCopy(row["shard"], row["key"], row["offset"], row["size"], row["sha256"])
        for row in rows
        if row["offset"] is not None and row["sha256"]
    ]
    ranges = [sample for row in rows for sample in sample_ranges(row)]
    image, whole, stale = ChunkHash(), ChunkHash(), set[tuple[str, str]]()
    with _as_line() as lines:
        for read, data in fetch_reads(plan_reads(copies, ranges), urls):
            for copy, start, chunk in read.chunks(data):
                if image.add(copy, start, chunk) not in (None, copy.sha256):
                    stale.add((copy.shard, copy.key))
                    yield _stale(copy, "its image has")
            for sample, start, chunk in read.range_chunks(data):
                digest = whole.add(sample, start, chunk)
                if digest not in (None, sample.sha256) and (sample.shard, sample.key) not in stale:
                    yield _stale(sample, "its members have")
    yield from lines


def _read_structure(file: BinaryIO, tar: str, ranges: dict[str, tuple[int, int]]) -> Iterator[str]:
    """Fill `ranges` with a member's name -> (offset, size), in tar order."""
    for entry in read_samples(file, tar, keep=lambda member: False):
        if isinstance(entry, LedgerLine):
            yield f"{tar}: {entry.reason} at byte {entry.offset} ({entry.key or 'no key'}): {entry.detail}"
            continue
        for member in entry.members:
            ranges[f"{entry.key}.{member.ext}"] = (member.offset, member.size)


def _compare_structure(
    tar: str, expected: Sequence[MemberCopy], ranges: Mapping[str, tuple[int, int]]
) -> Iterator[str]:
    names = {copy.name for copy in expected}
    for name in (name for name in ranges if name not in names):
        yield f"{tar}: holds {name}, which the manifest does not"
    for copy in expected:
        if copy.name not in ranges:
            yield f"{tar}: {copy.name} of the manifest is missing"
        elif ranges[copy.name][1] != copy.size:
            yield f"{tar}: {copy.name} has {ranges[copy.name][1]} bytes, its source {copy.size}"
    # A row that the manifest has twice is told by its id.
    manifest_order = list(dict.fromkeys(copy.name for copy in expected if copy.name in ranges))
    tar_order = [name for name in ranges if name in names]
    for expected_name, name in zip(manifest_order, tar_order, strict=True):
        if expected_name != name:
            yield f"{tar}: {name} stands where the manifest has {expected_name}: another order"
            return


def _compare_data(
    file: BinaryIO,
    tar: str,
    copies: Sequence[MemberCopy],
    ranges: Mapping[str, tuple[int, int]],
    urls: Mapping[str, str],
) -> Iterator[str]:
    image, differing = ChunkHash(), ""
    with _as_line() as lines:
        for read, data in fetch_reads(plan_reads(copies), urls):
            for copy, start, chunk in read.chunks(data):
                if copy.sha256 and image.add(copy, start, chunk) not in (None, copy.sha256):
                    yield _stale(copy, "its image has")
                file.seek(ranges[copy.name][0] + start)
                if differing != copy.name and file.read(len(chunk)) != chunk:
                    differing = copy.name
                    yield f"{tar}: {copy.name} differs from its source, {copy.key} of {copy.shard}"
    yield from lines


def _stale(copy: MemberCopy | SampleRange, what: str) -> str:
    return f"{copy.shard}: {copy.key}: {what} another sha256 than when it was embedded"


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
    with storage.scratch_folder() as folder:
        path = folder / "shard.tar"
        with storage.open_stream(url) as source, open(path, "wb") as file:
            shutil.copyfileobj(source, file, 8 << 20)
        yield path
