"""Where the files of a part are that another run's store holds."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Place"]


@dataclass(frozen=True, slots=True)
class Place:
    """A part of another store, under the identity that the part has here too.

    Attributes:
        store: the URL of that store (`OTHER/pool`).
        part: its number there.
        content: the hash of its array and metadata: see `DoneMark.content`.
    """

    store: str
    part: int
    content: str
