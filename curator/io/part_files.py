"""The names of a part's files, and what tells the content of one from another's."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import BinaryIO, NamedTuple

from curator.io.filesystems import join

__all__ = ["FileHash", "array_url", "mark_url", "metadata_url", "parse_name"]

CHUNK = 1 << 20
# The part's number, and the hash of all that it was made from; done-marks have no word before.
NAME = re.compile(r"(?:img_emb_|metadata_)?(\d{8})-([^.]+)\.(?:npy|parquet|json)")


class FileHash(NamedTuple):
    """What a done-mark says of a file of its part.

    Attributes:
        size: bytes.
        sha256: hex digest of them.
    """

    size: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> FileHash:
        """Of a local file, which is read once."""
        with open(path, "rb") as file:
            return cls.of_stream(file)

    @classmethod
    def of_stream(cls, stream: BinaryIO) -> FileHash:
        """Of all that a stream has left."""
        digest, size = hashlib.sha256(), 0
        while data := stream.read(CHUNK):
            digest.update(data)
            size += len(data)
        return cls(size, digest.hexdigest())

    @classmethod
    def of_bytes(cls, data: bytes) -> FileHash:
        """Of a file's content."""
        return cls(len(data), hashlib.sha256(data).hexdigest())


def array_url(store: str, part: int, identity: str) -> str:
    """Where the vectors of a part are. Readers of the folder go by the order of names, which is that of parts.

    >>> array_url("/run/pool", 3, "0123456789abcdef")
    '/run/pool/img_emb/img_emb_00000003-0123456789abcdef.npy'
    """
    return join(store, "img_emb", f"img_emb_{part:08d}-{identity}.npy")


def metadata_url(store: str, part: int, identity: str) -> str:
    """Where the metadata of a part is."""
    return join(store, "metadata", f"metadata_{part:08d}-{identity}.parquet")


def mark_url(store: str, part: int, identity: str) -> str:
    """Where the done-mark of a part is."""
    return join(store, "done", f"{part:08d}-{identity}.json")


def parse_name(name: str) -> tuple[int, str] | None:
    """The part and the identity that a file's name tells; None for a file that is no part's.

    >>> parse_name("metadata_00000003-0123456789abcdef.parquet")
    (3, '0123456789abcdef')
    >>> parse_name("img_emb_0.npy") is None
    True
    """
    match = NAME.fullmatch(name)
    return (int(match[1]), match[2]) if match else None
