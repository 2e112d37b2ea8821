"""The index of a run: `OUT/index`.

index.json                       what it is of and how it was made; written first
quantiser.npy                    float32 (lists, d)
codec.faiss                      what codes rows, where the index does not keep them as they are
shards/00000000/...              see `curator.index.shards`
done/00000000-<identity>.json    written last: the shard is complete
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from curator.errors import InputError
from curator.index.codec import Codec
from curator.index.quantiser import Factory, Quantiser
from curator.index.shards import IndexPiece
from curator.io import npy, schemas, storage
from curator.store.part_reader import PartReader

__all__ = ["IndexStore", "PiecePlan"]

SHARD_BYTES = 256 << 20


@dataclass(frozen=True)
class PiecePlan:
    """One index shard to build.

    Attributes:
        shard: its number.
        parts: part number -> identity hash, of the parts it holds.
        identity: hash of these, of the quantiser and of the codec.
    """

    shard: int
    parts: dict[int, str]
    identity: str


class IndexStore:
    """The index below one URL. Holds no state but the URL."""

    def __init__(self, url: str) -> None:
        self.url = url

    def shard_url(self, shard: int) -> str:
        """Where a shard's files are."""
        return storage.join(self.url, "shards", f"{shard:08d}")

    def settings(self) -> dict[str, Any] | None:
        """The content of index.json; None if there is no index.

        Raises:
            InputError: an unknown format version.
        """
        url = storage.join(self.url, "index.json")
        try:
            found: dict[str, Any] = json.loads(storage.read_bytes(url))
        except FileNotFoundError:
            return None
        if found.get("version") != schemas.FORMAT_VERSION:
            raise InputError(f"{url} has an unknown format version: remove {self.url} and run `curator index` again")
        return found

    def create(self, quantiser: Quantiser, codec: Codec | None, kind: str, rate: float, seed: int) -> dict[str, Any]:
        """Write a new index without shards. index.json goes last: without it there is no index."""
        npy.write_array(storage.join(self.url, "quantiser.npy"), quantiser.centroids)
        settings = {
            "version": schemas.FORMAT_VERSION,
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
            InputError: there is one, and faiss is not installed.
        """
        if "codec" not in (self.settings() or {}):
            return None
        return Codec.from_bytes(storage.read_bytes(storage.join(self.url, "codec.faiss")), self.quantiser())

    def finished(self) -> dict[int, dict[int, str]]:
        """Shard number -> the parts it holds with their identities, of every finished shard."""
        found = {}
        for name in storage.list_names(storage.join(self.url, "done")):
            mark = json.loads(storage.read_bytes(storage.join(self.url, "done", name)))
            found[int(name[:8])] = {int(part): identity for part, identity in mark["parts"].items()}
        return found

    def parts(self) -> dict[int, str]:
        """Part number -> identity of every part in a finished shard."""
        return {part: identity for shard in self.finished().values() for part, identity in shard.items()}

    def mark(self, plan: PiecePlan, rows: int) -> None:
        """Write a shard's done-mark: its other files must stand already."""
        url = storage.join(self.url, "done", f"{plan.shard:08d}-{plan.identity}.json")
        storage.write_bytes(url, json.dumps({"parts": plan.parts, "rows": rows}).encode())

    def missing(self, pool: PartReader) -> dict[int, str]:
        """Finished parts of the pool that no finished shard holds.

        Raises:
            InputError: a shard holds a part that has changed since, or is gone.
        """
        parts = pool.finished()
        held = self.parts()
        for part, identity in held.items():
            if parts.get(part) != identity:
                raise InputError(
                    f"{self.url} was built from another part {part} than the pool's: "
                    "remove it and run `curator index` again"
                )
        return {part: parts[part] for part in sorted(parts) if part not in held}

    def plan(self, pool: PartReader) -> list[PiecePlan]:
        """The shards still to build: missing parts in order, cut into shards of about 256 MiB of rows.

        Parts of a shard are not shared with shards that are finished, so those are never touched. Killed and
        run again over the same parts, the cuts are the same: finished shards hold a prefix of each other's.
        """
        settings = self.settings()
        assert settings is not None
        number = max(self.finished(), default=-1) + 1
        missing = self.missing(pool)
        taken = set(self.finished())
        cuts: list[dict[int, str]] = []
        size = SHARD_BYTES
        for part, identity in missing.items():
            held = pool.vectors(part).nbytes
            # A gap, where another shard holds what lies between, also ends a shard.
            if size + held > SHARD_BYTES or (cuts and max(cuts[-1]) + 1 != part):
                cuts.append({})
                size = 0
            cuts[-1][part] = identity
            size += held
        free = [shard for shard in range(number) if shard not in taken]
        numbers = free + list(range(number, number + len(cuts)))
        return [PiecePlan(n, cut, _identity(cut, settings)) for n, cut in zip(numbers, cuts, strict=False)]

    def shards(self) -> list[IndexPiece]:
        """Every finished shard, opened, by number."""
        codec = self.codec()
        return [IndexPiece.open(self.shard_url(shard), codec) for shard in sorted(self.finished())]


def _identity(parts: dict[int, str], settings: dict[str, Any]) -> str:
    made_from = [sorted(parts.items()), settings["quantiser"], settings["sample_rate"], schemas.FORMAT_VERSION]
    if "codec" in settings:
        made_from.append(settings["codec"])
    return _hash(json.dumps(made_from).encode())


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
