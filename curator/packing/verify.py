"""Is what was packed what was selected, byte for byte?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice, pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curator.io import parquet, schemas, storage
from curator.packing.compare import compare_images, compare_tar
from curator.packing.finish import MANIFEST, SIZES, read_sizes
from curator.packing.write import COLUMNS
from curator.store.part_reader import PartReader

__all__ = ["verify_shards"]

# Per output shard; what is wrong with one tar is seldom worth more lines.
MAX_LINES = 20


def verify_shards(
    out_url: str,
    store: PartReader,
    ids: np.ndarray,
    urls: Mapping[str, str] | None = None,
    report: Callable[[str, int], None] | None = None,
) -> list[str]:
    """Compare a finished packing with the selection, the pool's metadata and the sources.

    Every tar is read with our own reader, every source range read again. A manifest without tars
    (`--manifest-only`) has its images' sha256 checked in the sources. Memory: one output shard's rows
    of the manifest, one read of a source (see `ranges.fetch`), and the ids.

    Args:
        out_url: the run directory.
        store: the pool.
        ids: (n,) int64, what was selected, in any order.
        urls: where to read a source shard, if not under its public name.
        report: told, after each output shard, its name and how many differences it has.

    Returns:
        One line for each difference, at most 20 of each output shard and one that counts the rest; empty
        if there is none.

    Raises:
        InputError: the manifest is not one that this curator reads.
    """
    ids = np.unique(np.asarray(ids, np.int64))
    folder = storage.join(out_url, "shards")
    if not storage.exists(storage.join(folder, MANIFEST)):
        return [f"{folder}/{MANIFEST} is missing: packing is not finished"]
    tars = {name for name in storage.list_names(folder) if name.endswith(".tar")}
    counts: dict[str, int] = {}
    seen: list[np.ndarray] = []
    lines: list[str] = []
    for name, table in _units(storage.join(folder, MANIFEST)):
        seen.append(table["id"].to_numpy())
        found = _limited(_unit(folder, name, table, tars, store, ids, urls or {}), name or MANIFEST)
        if name is not None:
            counts[name] = counts.get(name, 0) + len(table)
        if report is not None:
            report(name or MANIFEST, len(found))
        lines += found
    lines += _compare_sizes(out_url, counts, tars)
    return lines + _compare_ids(np.concatenate([np.empty(0, np.int64), *seen]), ids)


def _unit(
    folder: str,
    name: str | None,
    table: pa.Table,
    tars: set[str],
    store: PartReader,
    ids: np.ndarray,
    urls: Mapping[str, str],
) -> Iterator[str]:
    yield from _compare_pool(table, store, ids)
    rows = table.to_pylist()
    if name is None:
        yield from compare_images(rows, urls)
    elif name in tars:
        yield from compare_tar(storage.join(folder, name), rows, urls)


def _units(url: str) -> Iterator[tuple[str | None, pa.Table]]:
    """The manifest's rows, output shard by output shard; without output shards, in blocks."""
    name: str | None = None
    pending: list[pa.Table] = []
    with storage.open_stream(url) as stream, pq.ParquetFile(stream) as file:
        parquet.check_format(file.schema_arrow, schemas.MANIFEST, url)
        for group in range(file.num_row_groups):
            for run in _runs(file.read_row_group(group)):
                following = run["out_shard"][0].as_py()
                if pending and (following is None or following != name):
                    yield name, pa.concat_tables(pending)
                    pending = []
                name = following
                pending.append(run)
    if pending:
        yield name, pa.concat_tables(pending)


def _runs(table: pa.Table) -> Iterator[pa.Table]:
    names = table["out_shard"].to_numpy(zero_copy_only=False)
    cuts = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1), len(names)]
    for start, end in pairwise(cuts):
        if end > start:
            yield table.slice(start, end - start)


def _compare_pool(table: pa.Table, store: PartReader, ids: np.ndarray) -> Iterator[str]:
    known = table.filter(pa.array(_contains(ids, table["id"].to_numpy())))
    rows = store.rows(known["id"].to_numpy(), COLUMNS)
    for column in COLUMNS:
        name = "key" if column == "image_path" else column
        if rows[column].equals(known[name]):
            continue
        pairs = zip(known["id"].to_pylist(), known[name].to_pylist(), rows[column].to_pylist(), strict=True)
        for sample, here, there in pairs:
            if here != there:
                yield f"{MANIFEST}: id {sample} has {name} {here}, the pool's metadata {there}"


def _compare_sizes(out_url: str, counts: Mapping[str, int], tars: set[str]) -> Iterator[str]:
    for name in sorted(counts.keys() - tars):
        yield f"{name} of the manifest is missing"
    for name in sorted(tars - counts.keys()):
        yield f"{name} is not in the manifest"
    try:
        sizes = read_sizes(out_url)
    except FileNotFoundError:
        if counts:
            yield f"{SIZES} is missing: packing is not finished"
        return
    except ValueError as error:
        yield f"{SIZES} cannot be read: {error}"
        return
    for name in sorted(sizes.keys() | counts.keys()):
        if sizes.get(name) != counts.get(name):
            said, held = sizes.get(name, "nothing"), counts.get(name, "nothing")
            yield f"{SIZES} says {said} of {name}, the manifest {held}"


def _compare_ids(found: np.ndarray, ids: np.ndarray) -> list[str]:
    unique, counts = np.unique(found, return_counts=True)
    kinds = (
        (np.setdiff1d(ids, unique, assume_unique=True), "selected and not in the manifest"),
        (np.setdiff1d(unique, ids, assume_unique=True), "in the manifest and not selected"),
        (unique[counts > 1], "in the manifest more than once"),
    )
    return [f"{len(some)} ids are {what}, the first {some[0]}" for some, what in kinds if len(some)]


def _contains(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    same: np.ndarray = np.append(ordered, -1)[np.searchsorted(ordered, values)] == values
    return same


def _limited(lines: Iterable[str], name: str) -> list[str]:
    lines = iter(lines)
    first = list(islice(lines, MAX_LINES))
    rest = sum(1 for _ in lines)
    return [*first, f"{name}: {rest} more differences"] if rest else first
