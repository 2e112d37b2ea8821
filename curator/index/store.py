"""The index of a run: `OUT/index`.

index.json                       what the index is of and how it was made; written first
quantiser.npy                    float32 (lists, d)
codec.faiss                      codes the rows, where the index does not keep them as they are
pieces/00000000/...              see `curator.index.pieces`
done/00000000-<identity>.json    written last: the piece is complete
merges.json                      the merges, and the pieces whose rows they have
merged/<name>/00000000/...       a piece of a merge: see `curator.index.merge`
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from curator.errors import UnusableInput
from curator.index.codec import Codec
from curator.index.contents import Contents, MergedPiece
from curator.index.pieces import row_files
from curator.index.quantiser import Factory, Quantiser
from curator.io import npy, schemas, storage
from curator.store import PartReader

__all__ = ["PIECE_BYTES", "IndexStore", "Merge", "PieceTask"]

# A piece holds parts with about so many bytes of rows.
PIECE_BYTES = 256 << 20
# Of the files of the pieces: an index of another layout is built again.
LAYOUT = 2


@dataclass(frozen=True)
class PieceTask:
    """One piece of the index to build.

    Attributes:
        number: the number of the piece.
        parts: part number -> identity hash, of the parts it holds.
        identity: the hash of these, of the quantiser and of the codec.
    """

    number: int
    parts: dict[int, str]
    identity: str

    def __repr__(self) -> str:
        return f"index piece {self.number}"


@dataclass(frozen=True)
class Merge:
    """Pieces that have the rows of other pieces, put together by list.

    Attributes:
        name: of its folder.
        built: number -> identity of the pieces, as they were built, whose rows it has.
        cuts: its piece i has the rows of lists cuts[i] to cuts[i + 1].
    """

    name: str
    built: dict[int, str]
    cuts: tuple[int, ...]

    def is_current(self, identities: Mapping[int, str]) -> bool:
        """Whether all that it has still is in the index; number -> identity of the finished pieces."""
        return self.built.items() <= identities.items()


class IndexStore:
    """The index below one URL. Holds no state but the URL."""

    def __init__(self, url: str) -> None:
        self.url = url

    def piece_url(self, number: int) -> str:
        """The URL of a piece's folder."""
        return storage.join(self.url, "pieces", f"{number:08d}")

    def settings(self) -> dict[str, Any] | None:
        """The content of index.json; None if there is no index.

        Raises:
            UnusableInput: the index has an unknown format version.
        """
        url = storage.join(self.url, "index.json")
        try:
            settings: dict[str, Any] = json.loads(storage.read_bytes(url))
        except FileNotFoundError:
            return None
        if settings.get("version") != schemas.FORMAT_VERSION or settings.get("layout") != LAYOUT:
            raise UnusableInput(f"{url} is of another version of curator", advice=self._advice())
        return settings

    def create(self, quantiser: Quantiser, codec: Codec | None, kind: str, rate: float, seed: int) -> dict[str, Any]:
        """Write a new index without pieces. index.json goes last: without it there is no index."""
        npy.write_array(storage.join(self.url, "quantiser.npy"), quantiser.centroids)
        settings = {
            "version": schemas.FORMAT_VERSION,
            "layout": LAYOUT,
            "factory": str(Factory(len(quantiser.centroids), kind)),
            "lists": len(quantiser.centroids),
            "quantiser": _hash(quantiser.centroids.tobytes()),
            "sample_rate": rate,
            "seed": seed,
        }
        if codec:
            storage.write_bytes(storage.join(self.url, "codec.faiss"), codec.to_bytes())
            settings["codec"] = _hash(codec.to_bytes())
        storage.write_bytes(storage.join(self.url, "index.json"), json.dumps(settings, indent=2).encode())
        return settings

    def quantiser(self) -> Quantiser:
        """The stored quantiser."""
        return Quantiser(npy.read_array(storage.join(self.url, "quantiser.npy")))

    def codec(self) -> Codec | None:
        """The stored codec; None if the index keeps rows as they are.

        Raises:
            UnusableInput: there is a codec, and faiss is not installed.
        """
        if "codec" not in (self.settings() or {}):
            return None
        return Codec.from_bytes(storage.read_bytes(storage.join(self.url, "codec.faiss")), self.quantiser())

    def finished(self) -> dict[int, dict[int, str]]:
        """Number of every finished piece -> the parts it holds, with their identities."""
        pieces = {}
        for name in storage.list_names(storage.join(self.url, "done")):
            mark = json.loads(storage.read_bytes(storage.join(self.url, "done", name)))
            pieces[int(name[:8])] = {int(part): identity for part, identity in mark["parts"].items()}
        return pieces

    def identities(self) -> dict[int, str]:
        """Number -> identity of every finished piece."""
        names = storage.list_names(storage.join(self.url, "done"))
        return {int(name[:8]): name[9:].removesuffix(".json") for name in names}

    def rows_of_pieces(self) -> dict[int, int]:
        """Number -> rows of every finished piece, as it was built."""
        marks = storage.join(self.url, "done")
        return {
            int(name[:8]): json.loads(storage.read_bytes(storage.join(marks, name)))["rows"]
            for name in storage.list_names(marks)
        }

    def row_bytes(self) -> int:
        """Bytes that a row takes in a piece."""
        codec = self.codec()
        return 8 + (codec.code_bytes if codec else 2 * self.quantiser().centroids.shape[1])

    def merges(self) -> list[Merge]:
        """What was put together."""
        return [
            Merge(merge["name"], {int(number): own for number, own in merge["built"].items()}, tuple(merge["cuts"]))
            for merge in self._read_merges()["merges"]
        ]

    def merged_pieces(self, merge: Merge) -> list[MergedPiece]:
        """The pieces of a merge."""
        return [
            (self.merged_url(merge.name, number), first, last)
            for number, (first, last) in enumerate(pairwise(merge.cuts))
        ]

    def merged_url(self, name: str, number: int) -> str:
        """The URL of the folder of a merge's piece; the name is a hash, in hexadecimal digits."""
        return storage.join(self.url, "merged", f"{int(name, 16):016x}", f"{number:08d}")

    def finish_merge(self, merge: Merge) -> None:
        """Take a merge whose pieces all are written for those that it was made of, and remove their rows."""
        identities = self.identities()
        others = (own for own in self.merges() if not own.built.items() & merge.built.items())
        merges = [*(own for own in others if own.is_current(identities)), *([merge] if merge.built else [])]
        self._write_merges(merges, is_swept=False)
        self.sweep()

    def sweep(self) -> None:
        """Remove merges that count no more, and rows that a merge has, where that was not done to the end."""
        found = self._read_merges()
        if found.get("is_swept", True):
            return
        merges = self.merges()
        folder = storage.join(self.url, "merged")
        for name in sorted(set(storage.list_entries(folder)[1]) - {merge.name for merge in merges}):
            storage.remove(storage.join(folder, name))
        has_codec = "codec" in (self.settings() or {})
        built = [self.piece_url(number) for merge in merges for number in merge.built]
        storage.remove_files([file for url in built for file in row_files(url, has_codec)])
        self._write_merges(merges, is_swept=True)

    def _read_merges(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(storage.read_bytes(storage.join(self.url, "merges.json")))
        except FileNotFoundError:
            return {"merges": []}
        return found

    def _write_merges(self, merges: Sequence[Merge], is_swept: bool) -> None:
        text = json.dumps({"merges": [asdict(merge) for merge in merges], "is_swept": is_swept})
        storage.write_bytes(storage.join(self.url, "merges.json"), text.encode())

    def parts(self) -> dict[int, str]:
        """Part number -> identity of every part in a finished piece."""
        return {part: identity for parts in self.finished().values() for part, identity in parts.items()}

    def mark(self, task: PieceTask, rows: int) -> None:
        """Write the done-mark of a piece. Its other files must stand already."""
        url = storage.join(self.url, "done", f"{task.number:08d}-{task.identity}.json")
        storage.write_bytes(url, json.dumps({"parts": task.parts, "rows": rows}).encode())

    def outdated(self, pool: PartReader) -> list[int]:
        """Numbers of the finished pieces that hold a part which is retired, or was made anew."""
        current = pool.finished().items()
        return [number for number, parts in sorted(self.finished().items()) if not parts.items() <= current]

    def remove_pieces(self, numbers: Iterable[int]) -> None:
        """Remove pieces, their done-marks first. What is left of their parts is missing then, and built again."""
        numbers = set(numbers)
        marks = storage.list_names(storage.join(self.url, "done")) if numbers else []
        storage.remove_files([storage.join(self.url, "done", name) for name in marks if int(name[:8]) in numbers])
        for number in sorted(numbers):
            storage.remove(self.piece_url(number))

    def missing_parts(self, pool: PartReader) -> dict[int, str]:
        """Finished parts of the pool that no finished piece holds as they are now."""
        finished, indexed = pool.finished(), self.parts()
        return {part: finished[part] for part in sorted(finished) if indexed.get(part) != finished[part]}

    def missing_pieces(self, pool: PartReader) -> list[PieceTask]:
        """The pieces still to build: missing parts in order, cut into pieces of about 256 MiB of rows.

        Pieces that are outdated must be removed before. Finished pieces are never touched: parts are added in pieces of
        their own. A build that was killed and runs again over the same parts cuts them in the same way.
        """
        settings = self.settings()
        assert settings is not None
        finished = self.finished()
        count = max(finished, default=-1) + 1
        cuts: list[dict[int, str]] = []
        size = PIECE_BYTES
        for part, identity in self.missing_parts(pool).items():
            added = pool.vectors(part).nbytes
            # Where a finished piece holds the parts between two missing ones, another piece begins too.
            if size + added > PIECE_BYTES or (cuts and max(cuts[-1]) + 1 != part):
                cuts.append({})
                size = 0
            cuts[-1][part] = identity
            size += added
        free = [number for number in range(count) if number not in finished]
        numbers = free + list(range(count, count + len(cuts)))
        return [PieceTask(n, cut, _identity(cut, settings)) for n, cut in zip(numbers, cuts, strict=False)]

    def open(self) -> Contents:
        """The index, with all that its finished pieces tell of their lists.

        Raises:
            UnusableInput: parts of it are gone, and it was not brought up to date.
        """
        identities, merges = self.identities(), self.merges()
        if any(not merge.is_current(identities) for merge in merges):
            raise UnusableInput(f"{self.url} is half brought up to date", advice="index the pool once more")
        moved = {self.piece_url(number) for merge in merges for number in merge.built}
        merged = [piece for merge in merges for piece in self.merged_pieces(merge)]
        built = [self.piece_url(number) for number in sorted(identities)]
        return Contents.read(self.quantiser(), self.codec(), built, merged, moved)

    def _advice(self) -> str:
        return f"remove {self.url} and build the index again"


def _identity(parts: dict[int, str], settings: dict[str, Any]) -> str:
    made_from = [sorted(parts.items()), settings["quantiser"], settings["sample_rate"], schemas.FORMAT_VERSION, LAYOUT]
    if "codec" in settings:
        made_from.append(settings["codec"])
    return _hash(json.dumps(made_from).encode())


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
