"""What a finished part says about itself: its done-mark."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from curator.errors import InputError
from curator.io import FileHash, public_text, schemas, storage
from curator.sources import Remarks
from curator.store.ledger_lines import Ledger, line_of, line_values
from curator.store.stored_parts import PartCounts
from curator.types import LedgerLine

__all__ = ["DoneMark", "FileSizes"]

LEDGER = '"ledger": ['


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
    ledger: Sequence[LedgerLine]
    remarks: Remarks = field(default_factory=Remarks)
    array: FileHash | None = None
    metadata: FileHash | None = None

    def to_json(self) -> bytes:
        """As stored."""
        return b"".join(self.json_chunks())

    def json_chunks(self) -> Iterator[bytes]:
        """The same in pieces: where all samples of a large shard are bad, its ledger is large too."""
        head = {name: getattr(self, name) for name in ("seen", "embedded", "dim", "seconds")}
        tail = {"remarks": self.remarks.to_json(), "array": self.array, "metadata": self.metadata}
        yield f"{json.dumps(head)[:-1]}, {LEDGER}".encode()
        for number, line in enumerate(self.ledger):
            values = line_values(replace(line, detail=public_text(line.detail)))
            yield f"{', ' if number else ''}{json.dumps(values)}".encode()
        yield f"], {json.dumps(tail | {'version': schemas.FORMAT_VERSION})[1:]}".encode()

    def has_sizes(self, sizes: FileSizes) -> bool:
        """True if these are the sizes of the files that this mark speaks of."""
        if self.array is None or self.metadata is None:
            return False
        return sizes == (self.array.size, self.metadata.size)

    @property
    def content(self) -> str:
        """A hash of its array and metadata: two parts of one identity may differ in the last bits of their rows."""
        return hashlib.sha256(json.dumps([self.array, self.metadata]).encode()).hexdigest()[:16]

    @property
    def counts(self) -> PartCounts:
        """The counts alone."""
        return PartCounts(self.seen, self.embedded, self.dim)

    @classmethod
    def read(cls, url: str) -> DoneMark:
        """Read it from where it stands; raises as `from_json`."""
        return cls.from_json(storage.read_bytes(url), url)

    @classmethod
    def from_json(cls, data: bytes, url: str) -> DoneMark:
        """From its stored form.

        Raises:
            InputError: an unknown format version.
        """
        text = data.decode()
        ledger, start, end = _ledger_of(text)
        fields = json.loads(text[:start] + text[end:])
        if (version := fields.pop("version", None)) != schemas.FORMAT_VERSION:
            raise InputError(f"{url} has format version {version}, this curator reads {schemas.FORMAT_VERSION}")
        del fields["ledger"]
        remarks = Remarks.from_json(fields.pop("remarks"))
        array, metadata = (_file_hash(fields.pop(name)) for name in ("array", "metadata"))
        return cls(**fields, ledger=ledger, remarks=remarks, array=array, metadata=metadata)


def _ledger_of(text: str) -> tuple[Ledger, int, int]:
    """The lines of a stored done-mark, one by one, and between which places of the text they stand.

    Before them stand counts and names of stations, so what begins them is found first.
    """
    ledger, at = Ledger(), text.find(LEDGER) + len(LEDGER)
    if at < len(LEDGER):
        # Another version, which is told by whoever asked.
        return ledger, 0, 0
    start, decode = at, json.JSONDecoder().raw_decode
    while text[at] != "]":
        values, at = decode(text, at)
        ledger.append(line_of(values))
        at += 2 * (text[at] == ",")
    return ledger, start, at


def _file_hash(fields: list[Any] | None) -> FileHash | None:
    return None if fields is None else FileHash(*fields)
