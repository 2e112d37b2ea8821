"""What a URL holds: shards, a folder of images, or ready embeddings. Each becomes one or more parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from curator.errors import InputError, counted
from curator.io import Stat, denied_is_input, expand, parquet, part_files, public_name, schemas, storage
from curator.sources.folder import THUMBNAILS, hidden_place, list_folder
from curator.sources.heads import is_called_tar, read_head, refuse_other_formats
from curator.sources.source import NOT_LOOKED_INTO, Source, in_words
from curator.types import Member

__all__ = ["find_sources", "pair_state"]

# Shards whose first bytes are looked at before work starts: one small read each.
MAX_HEADS = 4096
# A tar with a member takes at least three blocks, so a smaller file is looked at whatever the size of the pool.
SMALLEST_TAR = 1536


@denied_is_input
def find_sources(patterns: Sequence[str], field: str, *, folders: bool) -> list[Source]:
    """Everything the patterns stand for, in first-seen order.

    A directory with `img_emb/` is ready embeddings, with `*.tar` shards, else a folder of images.

    Args:
        patterns: see `curator.io.urls.expand`.
        field: the setting they were given by, for messages.
        folders: whether a folder of images may stand here.

    Raises:
        InputError: nothing there, a compressed tar, or something that is none of the three.
    """
    if not patterns:
        raise InputError("nothing is given; give shards, a folder or ready embeddings", field=field)
    files: list[str] = []
    sources: dict[str, list[Source]] = {}
    for url in expand(patterns):
        # Over HTTP to ask whether it is a directory is to fetch it.
        if is_called_tar(url) and not storage.is_local(url):
            files.append(url)
            sources[url] = []
        elif storage.is_directory(url):
            sources[url] = _directory(url, field, folders)
        else:
            files.append(url)
            sources[url] = []
    for url, source in _tars(files, field).items():
        sources[url] = [source]
    by_name: dict[str, Source] = {}
    for source in (source for group in sources.values() for source in group):
        # A shard given under two signatures, or once more by another run's pool, is one shard.
        by_name.setdefault(source.name, source)
    return list(by_name.values())


def _directory(url: str, field: str, folders: bool) -> list[Source]:
    if storage.is_directory(storage.join(url, "img_emb")):
        return _own_parts(url) if storage.exists(storage.join(url, "parts.parquet")) else _embeddings(url)
    names, folders_below = storage.list_entries(url)
    tars = [name for name in names if name.endswith(".tar")]
    if "parts.parquet" in names and not tars:
        # A pool of which other runs hold all.
        return _own_parts(url)
    if tars:
        sources = list(_tars([storage.join(url, name) for name in tars], field, _listed_states(url, tars)).values())
        sources[0] = replace(sources[0], left_out=_beside_tars(url, names, folders_below))
        return sources
    listing = list_folder(url)
    others = Counter(listing.left_out).most_common()
    if not listing.images:
        raise InputError(
            f"no image, no *.tar and no img_emb/ in this folder{in_words(others)}",
            field=field,
            value=url,
            advice=f"give {storage.join(url, '**', '*.tar')}" if ".tar" in listing.left_out else (),
        )
    if not folders:
        raise InputError("a folder of images; here shards (*.tar) or embeddings are needed", field=field, value=url)
    return [Source("folder", url, public_name(url), listing.stat, left_out=tuple(sorted(listing.left_out.items())))]


def _listed_states(url: str, names: Sequence[str]) -> dict[str, Stat] | None:
    """The states of files of a directory, by one more listing of it; None where a listing does not tell them."""
    if url.startswith("http"):
        return None
    states = storage.list_files(url)
    return {storage.join(url, name): states[name] for name in names if name in states}


def _beside_tars(url: str, names: Sequence[str], folders: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Images and archives beside tars, by ending, and in folders beside them, by folder: they might be thought read."""
    left_out: Counter[str] = Counter()
    for name in names:
        _, _, ending = name.rpartition(".")
        if ending != "tar" and _might_be_read(name):
            left_out[f".tar.{ending}" if ".tar." in name.lower() else f".{ending}"] += 1
    for folder in folders:
        if not storage.is_local(url):
            # There may be millions of objects below, and to list them takes a call for each thousand.
            left_out[NOT_LOOKED_INTO] += not folder.startswith(".")
            continue
        for path, _ in storage.list_tree(storage.join(url, folder)):
            place = hidden_place(f"{folder}/{path}")
            if place.rstrip("/") in THUMBNAILS or (not place and _might_be_read(path)):
                left_out[place or f"{folder}/"] += 1
    return tuple(sorted((+left_out).items()))


def _might_be_read(path: str) -> bool:
    """Whether a file is called an image or an archive."""
    name = path.rpartition("/")[2].lower()
    _, dot, ending = name.rpartition(".")
    is_archive = ".tar." in name or ending in ("tar", "tgz", "zip")
    return bool(dot) and (is_archive or Member(ending, 0, 0).is_image)


def _tars(urls: list[str], field: str, states: Mapping[str, Stat] | None = None) -> dict[str, Source]:
    """The sources of these tars, by URL; `states` where they were looked up already."""
    states = storage.stat_many(urls) if states is None else states
    for url in urls:
        if url not in states:
            raise _missing(url, field)
    # A pool is made by one tool: of a very large one, some shards stand for all. What is no tar after all fills the
    # ledger, and `max_bad` decides.
    chosen = set(urls[:: -(-len(urls) // MAX_HEADS)] if urls else [])
    chosen.update([url for url in urls if states[url].size < SMALLEST_TAR][:MAX_HEADS])
    looked_at = [url for url in urls if url in chosen]
    with ThreadPoolExecutor(storage.REMOTE_THREADS) as threads:
        heads = threads.map(read_head, looked_at, (states[url].size for url in looked_at))
        for url, head in zip(looked_at, heads, strict=True):
            refuse_other_formats(url, head, field)
    return {url: Source("tar", url, public_name(url), states[url]) for url in urls}


def _missing(url: str, field: str | None = None) -> InputError:
    target = storage.dangling_target(url)
    link = f", a symbolic link to {target}, which is not there" if target is not None else ""
    return InputError(f"no such file: {public_name(url)}{link}", field=field)


def _embeddings(url: str) -> list[Source]:
    """clip-retrieval's layout: `img_emb/img_emb_*.npy` beside `metadata/metadata_*.parquet`."""
    arrays = [name for name in storage.list_names(storage.join(url, "img_emb")) if name.endswith(".npy")]
    tables = [name for name in storage.list_names(storage.join(url, "metadata")) if name.endswith(".parquet")]
    beside = [name.replace("img_emb", "metadata", 1).replace(".npy", ".parquet") for name in arrays]
    if not arrays:
        raise InputError(f"{url}/img_emb holds no img_emb_*.npy")
    for array, table in zip(arrays, beside, strict=True):
        if table not in tables:
            raise InputError(f"{url}: img_emb/{array} has no metadata/{table} beside it")
    urls = [storage.join(url, "img_emb", name) for name in arrays]
    for file in (*urls, *(storage.join(url, "metadata", table) for table in beside)):
        if storage.dangling_target(file) is not None:
            raise _missing(file)
    metadata = [storage.join(url, "metadata", table) for table in beside]
    states = storage.stat_many([*urls, *metadata])
    sources = [
        Source("embeddings", array, public_name(array), pair_state(states[array], states[table]), table)
        for array, table in zip(urls, metadata, strict=True)
    ]
    if alone := len(set(tables) - set(beside)):
        sources[0] = replace(sources[0], left_out=(("metadata without an array", alone),))
    return sources


def pair_state(array: Stat, metadata: Stat) -> Stat:
    """The state of an array and its metadata as if they were one file; without a version if one of them has none."""
    versions = (array.version, metadata.version)
    return Stat(array.size + metadata.size, "+".join(versions) if all(versions) else "")


def _own_parts(url: str) -> list[Source]:
    """The finished parts of another run."""
    table = parquet.read_table(storage.join(url, "parts.parquet"), schemas.PARTS, error=InputError)
    rows = [row for row in table.to_pylist() if row["state"] == "active"]
    files = {row["part"]: _names_of(url, row) for row in rows}
    stores = {store for store, _, _ in files.values()}
    done = {(store, name) for store in stores for name in storage.list_names(storage.join(store, "done"))}
    missing = [row["url"] for row in rows if not _is_done(files[row["part"]], done)]
    if missing:
        missing_parts = counted(len(missing), "part is", "parts are")
        raise InputError(
            f"{url} is not finished: {missing_parts} missing, the first of {missing[0]}",
            advice="run its own command again first",
        )
    if not rows:
        raise InputError(f"{url} holds no part")
    return [_own_part(url, row, files[row["part"]]) for row in rows]


def _names_of(url: str, row: dict[str, Any]) -> tuple[str, int, str]:
    """The store, the number and the identity that a part's files are found by."""
    if row["store"] is None:
        return url, row["part"], row["identity"]
    return row["store"], row["store_part"], row["identity"]


def _is_done(files: tuple[str, int, str], done: set[tuple[str, str]]) -> bool:
    return (files[0], part_files.mark_url(*files).rpartition("/")[2]) in done


def _own_part(url: str, row: dict[str, Any], name: tuple[str, int, str]) -> Source:
    return Source(
        "embeddings" if row["kind"] == "embeddings" else "part",
        part_files.array_url(*name),
        row["url"],
        Stat(row["size"], row["version"]),
        part_files.metadata_url(*name),
        part_files.mark_url(*name),
        row["kind"],
        row["min_side"],
        listed_in=url,
        read_url=row["read_url"] or "",
        read_version=row["read_version"] or "",
    )
