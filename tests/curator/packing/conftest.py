from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from curator.io import storage
from curator.packing.plan import SelectedRows
from curator.sources.find import find_sources
from curator.sources.tar import read_samples
from curator.store.done_mark import DoneMark
from curator.store.part_store import PartStore
from curator.types import EmbeddingBlock, RawSample, SampleRow, join_id

Entries = list[tuple[str, bytes]]


def tar_bytes(entries: Entries, kind: int = tarfile.USTAR_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as tar:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uname = len(data), 1_700_000_000, "someone"
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def random_entries(samples: int, size: int, seed: int = 0) -> Entries:
    """Samples of an image of about `size` bytes, a caption and a class."""
    rng = np.random.default_rng(seed)
    entries: Entries = []
    for index in range(samples):
        image = rng.bytes(int(size * rng.uniform(0.7, 1.3)) + 1)
        entries += [
            (f"{index:06d}.jpg", image),
            (f"{index:06d}.txt", f"caption {index} of {seed}".encode()),
            (f"{index:06d}.cls", str(index % 7).encode()),
        ]
    return entries


@dataclass
class Pool:
    """Stored parts of real tars, and what is in them."""

    out: str
    store: PartStore
    shards: list[str]
    samples: dict[int, RawSample] = field(default_factory=dict)

    @property
    def ids(self) -> np.ndarray:
        return np.array(sorted(self.samples), np.int64)

    def chosen(self, ids: np.ndarray | None = None) -> SelectedRows:
        ids = self.ids if ids is None else np.asarray(ids, np.int64)
        n = len(ids)
        return SelectedRows.in_pool_order(ids, np.linspace(1, 0, n, dtype=np.float32), ids % 5, np.arange(n) // 3)

    def members(self, sample_id: int) -> dict[str, bytes]:
        return {member.ext: member.data or b"" for member in self.samples[sample_id].members}


def build_pool(root: str, tars: list[bytes], hashed: bool = True) -> Pool:
    urls = [storage.join(root, "in", f"shard-{number:03d}.tar") for number in range(len(tars))]
    for url, data in zip(urls, tars, strict=True):
        storage.write_bytes(url, data)
    out = storage.join(root, "run")
    pool = Pool(out, PartStore(storage.join(out, "pool")), urls)
    sources = find_sources(urls, "pool", folders=False)
    parts = pool.store.register(sources)
    for part, source in zip(parts, sources, strict=True):
        rows = []
        with storage.open_stream(source.url) as stream:
            for entry in read_samples(stream, source.name, hashed=hashed):
                assert isinstance(entry, RawSample)
                pool.samples[join_id(part.part, len(rows))] = entry
                rows.append(row_of(entry))
        block = EmbeddingBlock(rows, np.zeros((len(rows), 4), np.float16))
        mark = DoneMark(len(rows), len(rows), 4, {}, [])
        pool.store.commit(part.part, part.identity, block, source.name, mark)
    return pool


def row_of(sample: RawSample) -> SampleRow:
    image = sample.image
    assert image is not None
    assert image.data is not None
    digest = hashlib.sha256(image.data).hexdigest()
    return SampleRow(sample.key, image.offset, image.size, digest, 10, 20, sample.members, sample.sha256)


@pytest.fixture
def make_pool() -> Callable[..., Pool]:
    return build_pool


@pytest.fixture
def make_tar() -> Callable[..., bytes]:
    return tar_bytes


@pytest.fixture
def make_entries() -> Callable[..., Entries]:
    return random_entries


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    """Three shards, twenty samples each, in the three formats."""
    formats = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
    tars = [tar_bytes(random_entries(20, 3000, seed), kind) for seed, kind in enumerate(formats)]
    return build_pool(str(tmp_path), tars)


@pytest.fixture(params=["local", "s3"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A URL to write below: a local folder, then a bucket."""
    return str(tmp_path) if request.param == "local" else request.getfixturevalue("s3_bucket") + "/some/prefix"
