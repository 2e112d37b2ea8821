"""A folder of images that stands for one shard: key = relative path."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from curator.errors import Reason
from curator.io import Stat, storage
from curator.sources import tar_members
from curator.types import LedgerLine, Member, RawSample

__all__ = ["folder_stat", "list_images", "read_folder"]

# Remote images are read side by side: each waits for the network.
READS = 16


def list_images(url: str) -> list[tuple[str, Stat]]:
    """Relative path and state of every image below a folder, sorted by path; hidden ones are left out."""
    return [
        (path, state)
        for path, state in storage.list_tree(url)
        if Member(path.rpartition("/")[2], 0, 0).is_image
        and "." in path.rpartition("/")[2]
        and not any(piece.startswith(".") for piece in path.split("/"))
    ]


def folder_stat(url: str) -> Stat:
    """A folder's state as if it were one file: total bytes, and a hash of its listing."""
    images = list_images(url)
    listing = "\n".join(f"{path}\t{state.size}\t{state.version}" for path, state in images)
    return Stat(sum(state.size for _, state in images), hashlib.sha256(listing.encode()).hexdigest()[:32])


def read_folder(url: str, shard: str) -> Iterator[RawSample | LedgerLine]:
    """The images of a folder as samples of one member each, offset 0, in the order of their paths."""

    def read(image: tuple[str, Stat]) -> RawSample | LedgerLine:
        path, state = image
        if state.size > tar_members.MAX_SAMPLE_BYTES:
            return LedgerLine(
                shard,
                path,
                0,
                "read",
                Reason.TOO_LARGE,
                f"an image of more than {tar_members.MAX_SAMPLE_BYTES >> 20} MiB",
            )
        try:
            data = storage.read_bytes(storage.join(url, path))
        except OSError as error:
            return LedgerLine(shard, path, 0, "read", Reason.TRUNCATED, f"cannot be read: {error}")
        return RawSample(shard, path, 0, (Member(path.rpartition(".")[2], 0, state.size, data),))

    images = list_images(url)
    if storage.is_local(url):
        yield from map(read, images)
        return
    with ThreadPoolExecutor(READS) as threads:
        for start in range(0, len(images), READS):
            yield from threads.map(read, images[start : start + READS])
