"""Index every source first: from a manifest, from another run's metadata, or by one scan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace

import numpy as np
import pyarrow as pa

from curator.errors import CuratorError, InputError, Reason
from curator.io import parquet, schemas, storage
from curator.io.storage import Stat
from curator.io.urls import absolute, expand
from curator.sources.find import find_sources
from curator.sources.folder import list_images
from curator.sources.read import UnreadableShard, read_source
from curator.sources.source import Source
from curator.store.ledger import write_quarantine
from curator.types import LedgerLine, RawSample
from curator_ssl.data.samples import Samples, SampleSource, read_samples_file, write_samples_file

__all__ = ["FoundSamples", "index_samples", "stored_lines"]

SCAN_THREADS = 8


@dataclass(frozen=True)
class FoundSamples:
    """What indexing found.

    Attributes:
        samples: the sound ones.
        lines: the others.
    """

    samples: Samples
    lines: list[LedgerLine]


def index_samples(
    target: Sequence[str],
    shards: Sequence[str],
    out: str,
    say: Callable[[str], None] = lambda text: None,
    target_sources: Sequence[Source] = (),
) -> FoundSamples:
    """Find every sample of a run, and store the result as `OUT/samples.parquet`.

    What stands there already and was made from the same sources is used again, without reading them.

    Args:
        target: URLs of the target; may be empty.
        shards: URLs of packed shards, a `manifest.parquet`, another run's pool or folders; may be empty.
        out: the run directory.
        say: is told what takes time.
        target_sources: what the URLs of the target stand for, where that was found out before.

    Raises:
        InputError: nothing there, or nothing to train on.
        CuratorError: a shard cannot be read.
    """
    if not target and not shards:
        raise InputError("--target and --shards are missing; give what to train on")
    of_target = _of_sources(target_sources, "--target") if target_sources else _find(target, "--target")
    groups = [of_target, _find(shards, "--shards")]
    url = storage.join(out, "samples.parquet")
    sources = [source for group in groups for found in group for source in found.sources]
    addresses = {source.name: source.url for source in sources if source.url != source.name}
    try:
        known = read_samples_file(url, addresses)
    except FileNotFoundError:
        known = None
    asked = _hash(groups)
    if known is not None and known.asked == asked:
        return FoundSamples(known, stored_lines(out))
    indexed = _index(groups, addresses, asked, say)
    differs = known is not None and known.identity() != indexed.samples.identity()
    if differs and storage.exists(storage.join(out, "checkpoint.pt")):
        raise InputError(f"{out} was trained on other samples, or they changed since: give another --out")
    write_quarantine(out, indexed.lines)
    write_samples_file(url, indexed.samples)
    return indexed


@dataclass(frozen=True)
class _Found:
    """Sources that are indexed together: by scanning each, or by one table that names places in all of them."""

    sources: list[Source]
    table: pa.Table | None = None
    table_state: str = ""


def _hash(groups: list[list[_Found]]) -> str:
    """Of all that decides which samples there are: the sources, the tables, and which of them are the target's."""
    described = [
        [[found.table_state, [asdict(source) for source in _sources(found.sources)]] for found in group]
        for group in groups
    ]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]


def _index(
    groups: list[list[_Found]], addresses: dict[str, str], asked: str, say: Callable[[str], None]
) -> FoundSamples:
    lines: list[LedgerLine] = []
    parts: list[list[Samples]] = []
    count = sum(len(found.sources) for group in groups for found in group if found.table is None)
    if count:
        say(f"indexing {count} {'source' if count == 1 else 'sources'}")
    with ThreadPoolExecutor(SCAN_THREADS) as threads:
        for group in groups:
            indexed = [
                piece
                for found in group
                for piece in (
                    threads.map(_scan, found.sources)
                    if found.table is None
                    else [FoundSamples(_from_table(found.sources, found.table), [])]
                )
            ]
            parts.append([piece.samples for piece in indexed])
            lines += [line for piece in indexed for line in piece.lines]
    samples = Samples.concatenate([piece for group in parts for piece in group])
    samples = replace(samples, targets=sum(map(len, parts[0])), addresses=addresses, asked=asked)
    if not len(samples):
        raise InputError("no image in any of the sources given")
    return FoundSamples(samples, lines)


def _find(patterns: Sequence[str], flag: str) -> list[_Found]:
    found: list[_Found] = []
    plain: list[str] = []
    for url in expand(patterns):
        manifest, tars = _manifest_of(url), _packed_tars(url, flag)
        if tars is not None:
            plain += tars
        elif manifest is not None:
            found.append(_from_manifest(manifest, flag))
        else:
            plain.append(url)
    sources = find_sources(plain, flag.removeprefix("--").replace("-", "_"), folders=True) if plain else []
    return found + _of_sources(sources, flag)


def _of_sources(sources: Sequence[Source], flag: str) -> list[_Found]:
    found: list[_Found] = []
    for source in sources:
        if source.kind == "embeddings":
            raise InputError(f"{flag} {source.name} is embeddings without images: give the shards they were made from")
        found.append(_from_part(source, flag) if source.kind == "part" else _Found([source]))
    return found


def _manifest_of(url: str) -> str | None:
    if url.endswith(".parquet"):
        return url
    manifest = storage.join(url, "manifest.parquet")
    return manifest if not url.endswith(".tar") and storage.exists(manifest) else None


def _packed_tars(url: str, flag: str) -> list[str] | None:
    """The tars of a packed run, as its sizes.json lists them; None if this is no such folder."""
    if url.endswith((".tar", ".parquet")) or not storage.is_directory(url):
        return None
    try:
        sizes = json.loads(storage.read_bytes(storage.join(url, "sizes.json")))
    except FileNotFoundError:
        names = storage.list_names(url)
        if "manifest.parquet" in names and any(name.endswith(".tar") for name in names):
            raise InputError(f"{flag} {url} is not packed to its end (no sizes.json): run its select again") from None
        return None
    except ValueError as error:
        raise InputError(f"{flag} {url}/sizes.json is damaged: pack it again") from error
    return [storage.join(url, name) for name in sizes]


def _from_manifest(url: str, flag: str) -> _Found:
    try:
        table = parquet.read_table(absolute(url), schemas.MANIFEST, ["shard", "key", "offset", "size"])
    except FileNotFoundError as error:
        raise InputError(f"{flag}: no such file: {url}") from error
    return _places(table.rename_columns(["shard", "key", "offset", "size"]), url, flag)


def _from_part(source: Source, flag: str) -> _Found:
    table = parquet.read_table(source.metadata, schemas.METADATA, ["shard", "image_path", "offset", "size"])
    return _places(table.rename_columns(["shard", "key", "offset", "size"]), source.metadata, flag)


def _places(table: pa.Table, url: str, flag: str) -> _Found:
    """Samples that a table places in the shards they came from."""
    if table["offset"].null_count:
        raise InputError(f"{flag} {url} names no places in shards: it was made from ready embeddings")
    names = sorted(set(table["shard"].to_pylist()))
    states = storage.stat_many(names)
    for name in names:
        if name not in states and not (storage.is_local(name) and storage.is_directory(name)):
            raise InputError(f"{flag} {url}: its source {name} is gone")
    sources = [
        Source("tar", name, name, states[name]) if not storage.is_directory(name) else _folder(name) for name in names
    ]
    return _Found(sources, table, _state(storage.stat(absolute(url))))


def _folder(url: str) -> Source:
    return find_sources([url], "shards", folders=True)[0]


def _from_table(sources: list[Source], table: pa.Table) -> Samples:
    numbers = {source.name: number for number, source in enumerate(sources)}
    source = np.array([numbers[name] for name in table["shard"].to_pylist()], np.int32)
    offset, size = table["offset"].to_numpy(), table["size"].to_numpy()
    # Neighbours on disk are neighbours in blocks.
    order = np.lexsort((offset, source))
    key = table["key"].combine_chunks().take(pa.array(order))
    return Samples(_sources(sources), source[order], key, offset[order], size[order])


def _scan(source: Source) -> FoundSamples:
    if source.kind == "folder":
        images = list_images(source.url)
        sizes = np.array([state.size for _, state in images], np.int64)
        keys = pa.array([path for path, _ in images], pa.string())
        return FoundSamples(
            Samples(_sources([source]), np.zeros(len(images), np.int32), keys, np.zeros_like(sizes), sizes), []
        )
    keys_seen, places, lines = [], [], []
    try:
        for item in read_source(source, keep=lambda member: False):
            if isinstance(item, RawSample):
                assert item.image is not None
                keys_seen.append(item.key)
                places.append((item.image.offset, item.image.size))
            else:
                lines.append(item)
    except UnreadableShard as error:
        raise CuratorError(f"cannot read {error}: make it readable and run again") from error
    offset, size = np.array(places, np.int64).reshape(-1, 2).T
    keys = pa.array(keys_seen, pa.string())
    return FoundSamples(Samples(_sources([source]), np.zeros(len(places), np.int32), keys, offset, size), lines)


def _sources(sources: Sequence[Source]) -> list[SampleSource]:
    return [SampleSource(source.name, source.kind, _state(source.stat)) for source in sources]


def _state(stat: Stat) -> str:
    return f"{stat.size}-{stat.version}"


def stored_lines(out: str) -> list[LedgerLine]:
    """The lines of OUT/quarantine.parquet; none where it is not there."""
    try:
        table = parquet.read_table(storage.join(out, "quarantine.parquet"), schemas.QUARANTINE)
    except FileNotFoundError:
        return []
    return [LedgerLine(**row | {"reason": Reason(row["reason"])}) for row in table.to_pylist()]
