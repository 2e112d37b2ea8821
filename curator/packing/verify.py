"""The check that the output shards hold what was selected, byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice, pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curator.io import parquet, schemas, storage
from curator.packing.compare import compare_images, compare_tar
from curator.packing.finish import MANIFEST, SIZES, read_sizes
from curator.packing.write import COLUMNS
from curator.store import PartReader

__all__ = ["verify_shards"]

# Lines for one output shard: a tar that differs in more places is seldom worth more.
MAX_LINES = 20


def verify_shards(
    out_url: str,
    store: PartReader,
    ids: NDArray[np.int64],
    urls: Mapping[str, str] | None = None,
    report: Callable[[str, int], None] | None = None,
) -> list[str]:
    """Compare a finished packing with the selection, the pool's metadata and the sources.

    Every tar is read with curator's own reader, and every source range is read again. Where only the manifest was
    written, the sha256 of its images are checked in the sources. Memory: one output shard's rows of the manifest,
    one read of a source (see `ranges.fetch_reads`), and the ids.

    Args:
        out_url: the URL of the run directory.
        store: the store of the pool.
        ids: int64 (n,), the selected ids, in any order.
        urls: public name of a source shard -> URL to read it from, where they differ.
        report: is called after each output shard with its name and the number of its differences.

    Returns:
        one line for each difference, at most 20 of each output shard and one that counts the rest; empty if
        there is none.

    Raises:
        UnusableInput: the manifest is not one that this curator reads.
    """
    ids = np.unique(np.asarray(ids, np.int64))
    folder = storage.join(out_url, "shards")
    if not storage.exists(storage.join(folder, MANIFEST)):
        return [f"{folder}/{MANIFEST} is missing: packing is not finished"]
    tars = {name for name in storage.list_names(folder) if name.endswith(".tar")}
    counts: dict[str, int] = {}
    seen: list[NDArray[np.int64]] = []
    lines: list[str] = []
    for name, table in _manifest_shards(storage.join(folder, MANIFEST)):
        seen.append(table["id"].to_numpy())
        different = chain(_compare_pool(table, store, ids), _compare_sources(folder, name, table, tars, urls or {}))
        differences = _limited(different, name or MANIFEST)
        if name is not None:
            counts[name] = counts.get(name, 0) + len(table)
        if report is not None:
            report(name or MANIFEST, len(differences))
        lines += differences
    lines += _compare_sizes(out_url, counts, tars)
    return lines + _compare_ids(np.concatenate([np.empty(0, np.int64), *seen]), ids)


def _compare_sources(
    folder: str, name: str | None, table: pa.Table, tars: set[str], urls: Mapping[str, str]
) -> Iterator[str]:
    rows = table.to_pylist()
    if name is None:
        yield from compare_images(rows, urls)
    elif name in tars:
        yield from compare_tar(storage.join(folder, name), rows, urls)


def _manifest_shards(url: str) -> Iterator[tuple[str | None, pa.Table]]:
    """The names of the output shards with their rows of the manifest; blocks of rows where there are no shards."""
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


def _compare_pool(table: pa.Table, store: PartReader, ids: NDArray[np.int64]) -> Iterator[str]:
    known = table.filter(pa.array(_contains(ids, table["id"].to_numpy())))
    rows = store.rows(known["id"].to_numpy(), COLUMNS)
    for column in COLUMNS:
        name = "key" if column == "image_path" else column
        if rows[column].equals(known[name]):
            continue
        pairs = zip(known["id"].to_pylist(), known[name].to_pylist(), rows[column].to_pylist(), strict=True)
        for sample, in_manifest, in_pool in pairs:
            if in_manifest != in_pool:
                yield f"{MANIFEST}: id {sample} has {name} {in_manifest}, the pool's metadata {in_pool}"


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
            in_sizes, in_manifest = sizes.get(name, "nothing"), counts.get(name, "nothing")
            yield f"{SIZES} says {in_sizes} of {name}, the manifest {in_manifest}"


def _compare_ids(packed: NDArray[np.int64], ids: NDArray[np.int64]) -> list[str]:
    unique, counts = np.unique(packed, return_counts=True)
    kinds = (
        (np.setdiff1d(ids, unique, assume_unique=True), "selected and not in the manifest"),
        (np.setdiff1d(unique, ids, assume_unique=True), "in the manifest and not selected"),
        (unique[counts > 1], "in the manifest more than once"),
    )
    return [f"{len(wrong)} ids are {what}, the first {wrong[0]}" for wrong, what in kinds if len(wrong)]


def _contains(ordered: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = np.append(ordered, -1)[np.searchsorted(ordered, values)] == values
    return same


def _limited(lines: Iterable[str], name: str) -> list[str]:
    lines = iter(lines)
    first = list(islice(lines, MAX_LINES))
    rest = sum(1 for _ in lines)
    return [*first, f"{name}: {rest} more differences"] if rest else first
