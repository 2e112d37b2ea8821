"""Every sample of a run, found once: from a manifest, from another run's metadata, or by reading each source once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import pyarrow as pa

from curator.errors import Another, CuratorError, InputError, Reason, Use
from curator.io import Stat, absolute, expand, parquet, schemas, storage
from curator.sources import Remarks, Source, UnreadableShard, count_left_out, find_sources, list_images, read_source
from curator.store import write_quarantine
from curator.types import LedgerLine, RawSample
from curator_ssl.batch_shares import by_share
from curator_ssl.data.samples import Samples, SampleSource, read_samples_file, write_samples_file

__all__ = ["FoundSamples", "find_samples", "stored_lines"]

SCAN_THREADS = 8


@dataclass(frozen=True)
class FoundSamples:
    """The samples of a run.

    Attributes:
        samples: the samples to train on.
        lines: ledger lines of the samples that cannot be used.
        left_out: files beside the sources that are not read, by ending or place.
    """

    samples: Samples
    lines: list[LedgerLine]
    left_out: dict[str, int] = field(default_factory=dict)


def find_samples(
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
        shards: URLs of packed shards, a `manifest.parquet`, another run's pool or folders, with or without a share (see
            `by_share`); may be empty.
        out: the run directory.
        say: is told what takes time.
        target_sources: what the URLs of the target stand for, where that was found out before.

    Raises:
        InputError: nothing there, or nothing to train on.
        CuratorError: a shard cannot be read.
    """
    if not target and not shards:
        raise InputError("target and shards are both missing: there is nothing to train on", advice=Use("target"))
    of_target = _from_sources(target_sources, "target") if target_sources else _find_sources(target, "target")
    given = by_share(shards)
    groups = [of_target, _find_sources(given.plain, "shards")]
    groups += [_find_sources([urls], "shards") for _, urls in given.shared]
    url = storage.join(out, "samples.parquet")
    sources = [source for group in groups for source_set in group for source in source_set.sources]
    addresses = {source.name: source.url for source in sources if source.url != source.name}
    try:
        stored = read_samples_file(url, addresses)
    except FileNotFoundError:
        stored = None
    sources_hash = _hash(groups)
    if stored is not None and stored.sources_hash == sources_hash:
        return FoundSamples(stored, stored_lines(out), count_left_out(sources))
    result = _read_groups(groups, addresses, sources_hash, say)
    differs = stored is not None and stored.identity() != result.samples.identity()
    if differs and storage.exists(storage.join(out, "checkpoint.pt")):
        raise InputError(f"{out} was trained on other samples, or they changed since", advice=Another("out"))
    write_quarantine(out, result.lines)
    write_samples_file(url, result.samples)
    return replace(result, left_out=count_left_out(sources))


@dataclass(frozen=True)
class _SourceSet:
    """Sources whose samples are found together: by reading each, or from one table that locates them in all sources.

    Attributes:
        sources: the sources.
        table: shard, key, offset and size of the samples; None where the sources are to be read.
        table_state: what tells one state of the table from another.
    """

    sources: list[Source]
    table: pa.Table | None = None
    table_state: str = ""


def _hash(groups: list[list[_SourceSet]]) -> str:
    """The hash of what decides which samples there are: sources, tables, and which of them are the target's."""
    described = [
        [
            [source_set.table_state, [asdict(source) for source in _sample_sources(source_set.sources)]]
            for source_set in group
        ]
        for group in groups
    ]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]


def _read_groups(
    groups: list[list[_SourceSet]], addresses: dict[str, str], sources_hash: str, say: Callable[[str], None]
) -> FoundSamples:
    count = sum(len(source_set.sources) for group in groups for source_set in group if source_set.table is None)
    if count:
        say(f"finding the samples of {count} {'source' if count == 1 else 'sources'}")
    with ThreadPoolExecutor(SCAN_THREADS) as threads:
        pieces = [[piece for source_set in group for piece in _read_set(source_set, threads)] for group in groups]
    samples = Samples.concatenate([piece.samples for group in pieces for piece in group])
    targets, _, *shared = (sum(len(piece.samples) for piece in group) for group in pieces)
    if not len(samples):
        raise InputError("no image in any of the sources given")
    lines = [line for group in pieces for piece in group for line in piece.lines]
    samples = replace(samples, targets=targets, shared=tuple(shared), addresses=addresses, sources_hash=sources_hash)
    return FoundSamples(samples, lines)


def _read_set(source_set: _SourceSet, threads: ThreadPoolExecutor) -> Iterable[FoundSamples]:
    if source_set.table is None:
        return threads.map(_scan, source_set.sources)
    return [FoundSamples(_from_table(source_set.sources, source_set.table), [])]


def _find_sources(patterns: Sequence[str], field: str) -> list[_SourceSet]:
    sets: list[_SourceSet] = []
    plain: list[str] = []
    for url in expand(patterns):
        manifest, tars = _manifest_of(url), _packed_tars(url, field)
        if tars is not None:
            plain += tars
        elif manifest is not None:
            sets.append(_from_manifest(manifest, field))
        else:
            plain.append(url)
    return sets + _from_sources(find_sources(plain, field, folders=True) if plain else [], field)


def _from_sources(sources: Sequence[Source], field: str) -> list[_SourceSet]:
    sets: list[_SourceSet] = []
    for source in sources:
        if source.kind == "embeddings":
            raise InputError(
                "these are embeddings without images",
                field=field,
                value=source.name,
                advice="give the shards they were made from",
            )
        sets.append(_from_part(source, field) if source.kind == "part" else _SourceSet([source]))
    return sets


def _manifest_of(url: str) -> str | None:
    if url.endswith(".parquet"):
        return url
    manifest = storage.join(url, "manifest.parquet")
    return manifest if not url.endswith(".tar") and storage.exists(manifest) else None


def _packed_tars(url: str, field: str) -> list[str] | None:
    """The tars of a packed run, as its sizes.json lists them; None if this is no such folder."""
    if url.endswith((".tar", ".parquet")) or not storage.is_directory(url):
        return None
    try:
        sizes = json.loads(storage.read_bytes(storage.join(url, "sizes.json")))
    except FileNotFoundError:
        names = storage.list_names(url)
        if "manifest.parquet" in names and any(name.endswith(".tar") for name in names):
            raise InputError(
                "this is not packed to its end (no sizes.json)", field=field, value=url, advice="run its select again"
            ) from None
        return None
    except ValueError as error:
        raise InputError("its sizes.json is damaged", field=field, value=url, advice="pack it again") from error
    return [storage.join(url, name) for name in sizes]


def _from_manifest(url: str, field: str) -> _SourceSet:
    try:
        table = parquet.read_table(absolute(url), schemas.MANIFEST, ["shard", "key", "offset", "size"])
    except FileNotFoundError as error:
        raise InputError("no such file", field=field, value=url) from error
    return _from_locations(table, url, field)


def _from_part(source: Source, field: str) -> _SourceSet:
    table = parquet.read_table(source.metadata, schemas.METADATA, ["shard", "image_path", "offset", "size"])
    table = table.rename_columns(["shard", "key", "offset", "size"])
    if source.read_url:
        # A part is made from one shard, which moved.
        table = table.set_column(0, "shard", pa.array([source.read_url] * len(table), pa.string()))
    return _from_locations(table, source.metadata, field)


def _from_locations(table: pa.Table, url: str, field: str) -> _SourceSet:
    """Samples that a table locates in the shards they came from."""
    if table["offset"].null_count:
        raise InputError(
            "it does not say where in the shards its samples are: it was made from ready embeddings",
            field=field,
            value=url,
        )
    names = sorted(set(table["shard"].to_pylist()))
    states = storage.stat_many(names)
    for name in names:
        if name not in states and not (storage.is_local(name) and storage.is_directory(name)):
            raise InputError(f"its source {name} is gone", field=field, value=url)
    sources = [
        Source("tar", name, name, states[name]) if not storage.is_directory(name) else _folder(name) for name in names
    ]
    return _SourceSet(sources, table, _state(storage.stat(absolute(url))))


def _folder(url: str) -> Source:
    return find_sources([url], "shards", folders=True)[0]


def _from_table(sources: list[Source], table: pa.Table) -> Samples:
    numbers = {source.name: number for number, source in enumerate(sources)}
    source = np.array([numbers[name] for name in table["shard"].to_pylist()], np.int32)
    offset, size = table["offset"].to_numpy(), table["size"].to_numpy()
    # Neighbours on disk are neighbours in blocks.
    order = np.lexsort((offset, source))
    key = table["key"].cast(pa.large_string()).combine_chunks().take(pa.array(order))
    return Samples(_sample_sources(sources), source[order], key, offset[order], size[order])


def _scan(source: Source) -> FoundSamples:
    if source.kind == "folder":
        images = list_images(source.url)
        sizes = np.array([state.size for _, state in images], np.int64)
        keys = pa.array([path for path, _ in images], pa.string())
        return FoundSamples(
            Samples(_sample_sources([source]), np.zeros(len(images), np.int32), keys, np.zeros_like(sizes), sizes), []
        )
    keys_seen, locations, lines = [], [], []
    remarks = Remarks()
    try:
        for item in read_source(source, keep=lambda member: False, remarks=remarks):
            if isinstance(item, RawSample):
                assert item.image is not None
                keys_seen.append(item.key)
                locations.append((item.image.offset, item.image.size))
            else:
                lines.append(item)
    except UnreadableShard as error:
        raise CuratorError(f"cannot read {error}", advice="make it readable and run again") from error
    offset, size = np.array(locations, np.int64).reshape(-1, 2).T
    keys = pa.array(keys_seen, pa.string())
    numbers = np.zeros(len(locations), np.int32)
    return FoundSamples(Samples(_sample_sources([source]), numbers, keys, offset, size, remarks=remarks), lines)


def _sample_sources(sources: Sequence[Source]) -> list[SampleSource]:
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
