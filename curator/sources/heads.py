"""The first bytes of what was given: they tell shards from what only looks like one, before work starts."""

from __future__ import annotations

from curator.errors import Advice, InputError
from curator.images import HEAD, image_ending, text_kind
from curator.io import public_name, storage
from curator.sources.tar_headers import BLOCK, begins_like_tar

__all__ = ["first_bytes", "is_called_tar", "read_head", "refuse_other_formats"]

COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
}
_INSTEAD_ADVICE: dict[str, Advice] = {
    "a git-lfs pointer": "fetch the file itself, with `git lfs pull` in its repository",
    "an HTML page": "download it again: a server answered with a page instead of the file",
    "an XML document": "download it again: a server answered with a document, often an error, instead of the file",
}


def is_called_tar(url: str) -> bool:
    """True if a URL's path ends with .tar."""
    return url.partition("?")[0].endswith(".tar")


def first_bytes(url: str, length: int) -> bytes:
    """The first bytes of a file, fewer where it is shorter. One small read."""
    if storage.is_local(url):
        with open(storage.local_path(url), "rb") as file:
            return file.read(length)
    return storage.read_range(url, 0, length)


def read_head(url: str, size: int) -> bytes:
    """As much as it takes to tell the format: a whole header where neither the name nor `HEAD` bytes say tar."""
    if not size:
        return b""  # object stores refuse a range of nothing
    head = first_bytes(url, HEAD)
    suspect = head.startswith(tuple(COMPRESSED)) or image_ending(head) or text_kind(head)
    return head if is_called_tar(url) and not suspect else first_bytes(url, BLOCK)


def refuse_other_formats(url: str, head: bytes, field: str) -> None:
    """Raise an error if a file with this head, given as a shard, is something else that has a name.

    Args:
        url: the file.
        head: what `read_head` gave.
        field: the setting it was given by.

    Raises:
        InputError: it is compressed, an image, a git-lfs pointer, a web page; or neither called a tar nor one.
    """
    name = public_name(url)
    if begins_like_tar(head):
        return  # whatever the name of its first member looks like: BMW.jpg, BZh.jpg
    for magic, tool in COMPRESSED.items():
        if head.startswith(magic):
            raise InputError(
                f"{name} is compressed ({tool}); shards must be plain tars, since single samples are read from them",
                field=field,
                advice="decompress it first",
            )
    if image_ending(head):
        raise InputError(f"{name} is an image, not a shard; give the folder that holds it", field=field)
    if instead := text_kind(head):
        raise InputError(f"{name} is {instead}, not a shard", field=field, advice=_INSTEAD_ADVICE[instead])
    # What is called a tar and is none was damaged: that is the ledger's business, and no reason to refuse a pool.
    if not is_called_tar(url):
        raise InputError(f"{name} is no tar; give shards, or @{name} if it is a list of URLs", field=field)
