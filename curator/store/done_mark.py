"""What a finished part says about itself: its done-mark."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from curator.errors import InputError, Reason
from curator.io import FileHash, public_text, schemas
from curator.sources import Remarks
from curator.store.stored_parts import PartCounts
from curator.types import LedgerLine

__all__ = ["DoneMark", "FileSizes"]


class FileSizes(NamedTuple):
    """Bytes of a part's array and of its metadata; 0 for one that is not there."""

    array: int
    metadata: int


@dataclass(frozen=True, slots=True)
class DoneMark:
    """What a finished part says about itself.

    Attributes:
        seen: samples met in the source; `seen = embedded + len(ledger)`.
        embedded: rows stored.
        dim: columns of the array.
        seconds: time per station.
        ledger: the samples left out.
        remarks: what is no damage and should be known.
        array: size and sha256 of its array's file; None before it is written.
        metadata: size and sha256 of its metadata's file.
    """

    seen: int
    embedded: int
    dim: int
    seconds: dict[str, float]
    ledger: list[LedgerLine]
    remarks: Remarks = field(default_factory=Remarks)
    array: FileHash | None = None
    metadata: FileHash | None = None

    def to_json(self) -> bytes:
        """As stored."""
        lines = [[*(asdict(line) | {"detail": public_text(line.detail)}).values()] for line in self.ledger]
        fields = asdict(self) | {"ledger": lines, "remarks": self.remarks.to_json()}
        return json.dumps(fields | {"version": schemas.FORMAT_VERSION}).encode()

    def has_sizes(self, sizes: FileSizes) -> bool:
        """True if these are the sizes of the files that this mark speaks of."""
        if self.array is None or self.metadata is None:
            return False
        return sizes == (self.array.size, self.metadata.size)

    @property
    def counts(self) -> PartCounts:
        """The counts alone."""
        return PartCounts(self.seen, self.embedded, self.dim)

    @classmethod
    def from_json(cls, data: bytes, url: str) -> DoneMark:
        """From its stored form.

        Raises:
            InputError: an unknown format version.
        """
        fields = json.loads(data)
        if (version := fields.pop("version", None)) != schemas.FORMAT_VERSION:
            raise InputError(f"{url} has format version {version}, this curator reads {schemas.FORMAT_VERSION}")
        lines = [
            LedgerLine(shard, key, offset, station, Reason(reason), detail)
            for shard, key, offset, station, reason, detail in fields.pop("ledger")
        ]
        remarks = Remarks.from_json(fields.pop("remarks"))
        array, metadata = (_file_hash(fields.pop(name)) for name in ("array", "metadata"))
        return cls(**fields, ledger=lines, remarks=remarks, array=array, metadata=metadata)


def _file_hash(fields: list[Any] | None) -> FileHash | None:
    return None if fields is None else FileHash(*fields)
