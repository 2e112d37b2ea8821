"""A folder of images that stands for one shard: key = relative path."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache

from curator.errors import Reason
from curator.images import HEAD, can_read_heif, image_ending
from curator.io import Stat, storage
from curator.sources import tar_members
from curator.sources.heads import first_bytes
from curator.types import LedgerLine, Member, RawSample

__all__ = ["THUMBNAILS", "FolderListing", "hidden_place", "list_folder", "list_images", "read_folder"]

# Remote images are read side by side: each waits for the network.
READS = 16
# Files of other or no ending that are opened to see what they are; the rest is left out by ending.
MAX_OPENED = 10_000
# Folders of thumbnails, which look like photos: of a Synology box, of file managers.
THUMBNAILS = ("@eaDir", ".thumbnails")


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    state: Stat
    ending: str

    @property
    def is_called_image(self) -> bool:
        return Member(self.ending, 0, 0).is_image

    @property
    def is_called_heic(self) -> bool:
        return self.ending.lower() in ("heic", "heif")


@dataclass(frozen=True)
class FolderListing:
    """What a folder holds.

    Attributes:
        images: relative path and state of every image, sorted by path.
        endings: the image ending of each: that of its name, or what its first bytes say where the name has none.
        left_out: what is no image, by ending (`.pdf`, `no ending`) or by the hidden folder it lies in (`.git/`) ->
            count.
    """

    images: list[tuple[str, Stat]]
    endings: list[str]
    left_out: dict[str, int]

    @property
    def stat(self) -> Stat:
        """The folder's state as if it were one file: total bytes of its images, and a hash of their listing."""
        listing = "\n".join(f"{path}\t{state.size}\t{state.version}" for path, state in self.images)
        return Stat(sum(state.size for _, state in self.images), hashlib.sha256(listing.encode()).hexdigest()[:32])


def list_folder(url: str) -> FolderListing:
    """All files below a folder, images and others.

    An image is told by its ending. Files of other endings, or none, are opened (the first `MAX_OPENED` of them, `HEAD`
    bytes each): they are images if they begin like one. A TIFF must be called so, since raw photos of most cameras
    begin like TIFFs. HEIC counts as an image where it can be read. Hidden files and thumbnails are left out.
    """
    left_out: Counter[str] = Counter()
    images: list[_File] = []
    unknown: list[_File] = []
    for path, state in storage.list_tree(url):
        if place := hidden_place(path):
            left_out[place] += 1
            continue
        file = _File(path, state, _ending(path))
        is_known = file.is_called_image and (can_read_heif() or not file.is_called_heic)
        (images if is_known else unknown).append(file)
    found = [*_look_at(url, unknown[:MAX_OPENED]), *[""] * len(unknown[MAX_OPENED:])]
    for file, ending in zip(unknown, found, strict=True):
        if ending:
            images.append(replace(file, ending=ending))
        else:
            left_out[f".{file.ending}" if file.ending else "no ending"] += 1
    images.sort(key=lambda file: file.path)
    return FolderListing([(file.path, file.state) for file in images], [file.ending for file in images], dict(left_out))


def list_images(url: str) -> list[tuple[str, Stat]]:
    """Relative path and state of every image below a folder, sorted by path; see `list_folder`."""
    return list_folder(url).images


def read_folder(url: str, shard: str) -> Iterator[RawSample | LedgerLine]:
    """The images of a folder as samples of one member each, offset 0, in the order of their paths."""

    def read(image: tuple[str, Stat], ending: str) -> RawSample | LedgerLine:
        path, state = image
        if state.size > tar_members.MAX_SAMPLE_BYTES:
            detail = f"an image of more than {tar_members.MAX_SAMPLE_BYTES >> 20} MiB"
            return LedgerLine(shard, path, 0, "read", Reason.TOO_LARGE, detail)
        try:
            data = storage.read_bytes(storage.join(url, path))
        except OSError as error:
            target = storage.dangling_target(storage.join(url, path))
            link = f"a symbolic link to {target}, which is not there"
            detail = f"cannot be read: {error}" if target is None else link
            return LedgerLine(shard, path, 0, "read", Reason.TRUNCATED, detail)
        return RawSample(shard, path, 0, (Member(ending, 0, state.size, data),))

    listing = list_folder(url)
    if storage.is_local(url):
        yield from map(read, listing.images, listing.endings)
        return
    with ThreadPoolExecutor(READS) as threads:
        for start in range(0, len(listing.images), READS):
            several = slice(start, start + READS)
            yield from threads.map(read, listing.images[several], listing.endings[several])


def hidden_place(path: str) -> str:
    """Where a file is hidden: the folder, or `hidden` for the file itself; empty for all others."""
    *folders, name = path.split("/")
    for folder in folders:
        if folder.startswith(".") or folder in THUMBNAILS:
            return f"{folder}/"
    return "hidden" if name.startswith(".") else ""


def _ending(path: str) -> str:
    _, dot, ending = path.rpartition("/")[2].rpartition(".")
    return ending if dot else ""


def _look_at(url: str, files: list[_File]) -> list[str]:
    """The image ending that the first bytes of each file say; empty where they begin no image."""
    if storage.is_local(url):
        return [_kind(url, file) for file in files]
    with ThreadPoolExecutor(READS) as threads:
        return list(threads.map(lambda file: _kind(url, file), files))


# A folder is listed several times in a run: when it is found, read, and found unchanged.
@lru_cache(maxsize=2 * MAX_OPENED)
def _kind(folder: str, file: _File) -> str:
    # One that cannot be read, or is damaged, and is called an image is the ledger's business.
    called = file.ending if file.is_called_image else ""
    try:
        begins = image_ending(first_bytes(storage.join(folder, file.path), HEAD)) if file.state.size else ""
    except OSError:
        return called
    if begins == "heic":
        return "heic" if can_read_heif() else ""
    if begins == "tif" and file.ending:
        return called
    return begins or called
