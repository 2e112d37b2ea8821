"""Where every sample of a training run is: `OUT/samples.parquet`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curator.io import Stat, parquet, schemas, storage
from curator.sources import Remarks

__all__ = ["ImageLocation", "SampleSource", "Samples", "read_samples_file", "write_samples_file"]


@dataclass(frozen=True, slots=True)
class SampleSource:
    """A shard or folder that samples are read from.

    Attributes:
        name: its URL without secrets.
        kind: `tar` or `folder`.
        state: what tells one state of it from another.
    """

    name: str
    kind: str
    state: str

    @property
    def stat(self) -> Stat:
        """`state`, as storage knows it."""
        size, _, version = self.state.partition("-")
        return Stat(int(size), version)


@dataclass(frozen=True, slots=True)
class ImageLocation:
    """Where an image's bytes are.

    Attributes:
        url: of the file.
        offset: where they begin in it.
        size: how many they are.
        name: of the source, for people.
        is_image: the file is this image alone, one of a folder.
        state: what the file must be; None where that is not known, as of one image of a folder.
    """

    url: str
    offset: int
    size: int
    name: str
    is_image: bool
    state: Stat | None


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples by number: sorted by set (target first, those with a share of every batch last), source and offset.

    Attributes:
        sources: what they are read from.
        source: (n,) int32, the source of each.
        key: (n,) their keys; of a folder, the path inside it.
        offset: (n,) int64, where the image begins in its shard.
        size: (n,) int64, bytes of the image.
        targets: how many samples, the first ones, are the target's.
        shared: how many samples, the last ones, each set has that has a share of every batch.
        addresses: source name -> URL to read it from, where that is not its name.
        sources_hash: hash of the sources and tables they were found in.
        remarks: what is no damage and should be known.
    """

    sources: list[SampleSource]
    source: NDArray[np.int32]
    key: pa.Array
    offset: NDArray[np.int64]
    size: NDArray[np.int64]
    targets: int = 0
    shared: tuple[int, ...] = ()
    addresses: Mapping[str, str] | None = None
    sources_hash: str = ""
    remarks: Remarks = field(default_factory=Remarks)

    def __len__(self) -> int:
        return len(self.source)

    @cached_property
    def urls(self) -> list[str]:
        """Where to read each source."""
        addresses = self.addresses or {}
        return [addresses.get(source.name, source.name) for source in self.sources]

    @cached_property
    def _states(self) -> list[Stat | None]:
        return [None if source.kind == "folder" else source.stat for source in self.sources]

    def location(self, number: int) -> ImageLocation:
        """Where a sample's image is."""
        index = int(self.source[number])
        source, url, state = self.sources[index], self.urls[index], self._states[index]
        is_image = source.kind == "folder"
        if is_image:
            url = storage.join(url, self.key[number].as_py())
        return ImageLocation(url, int(self.offset[number]), int(self.size[number]), source.name, is_image, state)

    def describe(self, number: int) -> tuple[str, str, int]:
        """Shard, key and offset of a sample, as the ledger names it."""
        return self.sources[int(self.source[number])].name, self.key[number].as_py(), int(self.offset[number])

    def identity(self) -> str:
        """Hash of everything a run's batches depend on but the pixels."""
        digest = hashlib.sha256(json.dumps([asdict(source) for source in self.sources]).encode())
        for values in (self.source, self.offset, self.size, np.array([self.targets, *self.shared])):
            digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()[:16]

    @staticmethod
    def concatenate(parts: Sequence[Samples]) -> Samples:
        """All samples of several collections, in their order; `targets` is 0."""
        sources: list[SampleSource] = []
        numbers: list[NDArray[np.int32]] = [np.empty(0, np.int32)]
        addresses: dict[str, str] = {}
        remarks = Remarks()
        for part in parts:
            remarks.update(part.remarks)
            numbers.append((part.source + len(sources)).astype(np.int32))
            sources += part.sources
            addresses |= dict(part.addresses or {})
        # Offsets of 64 bits: all keys together may be more than 2 GiB.
        keys = [part.key.cast(pa.large_string()) for part in parts]
        return Samples(
            sources,
            np.concatenate(numbers),
            pa.concat_arrays(keys) if keys else pa.array([], pa.large_string()),
            np.concatenate([np.empty(0, np.int64), *(part.offset for part in parts)]),
            np.concatenate([np.empty(0, np.int64), *(part.size for part in parts)]),
            addresses=addresses,
            remarks=remarks,
        )


def write_samples_file(url: str, samples: Samples) -> None:
    """Write `samples.parquet`, whole."""
    described = json.dumps(
        {
            "sources": [asdict(s) for s in samples.sources],
            "targets": samples.targets,
            "shared": samples.shared,
            "sources_hash": samples.sources_hash,
            "remarks": samples.remarks.to_json(),
        }
    )
    schema = schemas.SAMPLES.with_metadata(schemas.SAMPLES.metadata | {b"curator.sources": described.encode()})
    columns = {"source": samples.source, "key": samples.key, "offset": samples.offset, "size": samples.size}
    parquet.write_table(url, schema, columns)


def read_samples_file(url: str, addresses: Mapping[str, str] | None = None) -> Samples:
    """Read `samples.parquet`.

    Raises:
        FileNotFoundError: it is not there.
        InputError: it is another kind of file, or of another version.
    """
    table = parquet.read_table(url, schemas.SAMPLES)
    described = json.loads(table.schema.metadata[b"curator.sources"])
    columns = {name: table[name].to_numpy() for name in ("source", "offset", "size")}
    sources = [SampleSource(**source) for source in described["sources"]]
    return Samples(
        sources,
        key=_one_array(table["key"]),
        targets=described["targets"],
        # Files of before have none.
        shared=tuple(described.get("shared", ())),
        addresses=addresses,
        sources_hash=described["sources_hash"],
        remarks=Remarks.from_json(described.get("remarks", {})),
        **columns,
    )


def _one_array(key: pa.ChunkedArray) -> pa.Array:
    combined = key.cast(pa.large_string()).combine_chunks()
    # Of no rows, pyarrow makes a chunked array again.
    return pa.concat_arrays(combined.chunks) if isinstance(combined, pa.ChunkedArray) and combined.chunks else combined
