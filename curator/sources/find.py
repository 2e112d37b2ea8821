"""What a URL holds: shards, a folder of images, or ready embeddings. Each becomes one or more parts."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from curator.errors import InputError
from curator.io import Stat, denied_is_input, expand, parquet, public_name, schemas, storage
from curator.sources.folder import folder_stat, list_images
from curator.sources.source import Source
from curator.sources.tar import begins_like_tar

__all__ = ["find_sources"]

COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
}
# Shards whose first bytes are looked at before work starts: one small read each.
MAX_HEADS = 4096
IMAGES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")


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
        if _is_called_tar(url) and not storage.is_local(url):
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
    tars = [name for name in storage.list_names(url) if name.endswith(".tar")]
    if tars:
        urls = [storage.join(url, name) for name in tars]
        return list(_tars(urls, field).values())
    if not list_images(url):
        raise InputError("no image, no *.tar and no img_emb/ in this folder", field=field, value=url)
    if not folders:
        raise InputError("a folder of images; here shards (*.tar) or embeddings are needed", field=field, value=url)
    return [Source("folder", url, public_name(url), folder_stat(url))]


def _tars(urls: list[str], field: str) -> dict[str, Source]:
    states = storage.stat_many(urls)
    for url in urls:
        if url not in states:
            raise InputError(f"no such file: {public_name(url)}", field=field)
    # A pool is made by one tool: of a very large one, some shards stand for all. What is no tar after all fills the
    # ledger, and `max_bad` decides.
    looked_at = urls[:: -(-len(urls) // MAX_HEADS)] if urls else []
    with ThreadPoolExecutor(storage.REMOTE_THREADS) as threads:
        heads = threads.map(_head, looked_at, (states[url].size for url in looked_at))
        for url, head in zip(looked_at, heads, strict=True):
            _refuse_other_formats(url, head, field)
    return {url: Source("tar", url, public_name(url), states[url]) for url in urls}


def _head(url: str, size: int) -> bytes:
    """As much as it takes to tell the format: a whole header where neither the name nor eight bytes say tar."""
    if not size:
        return b""  # object stores refuse a range of nothing
    head = _first_bytes(url, 8)
    plain = _is_called_tar(url) and not head.startswith((*COMPRESSED, *IMAGES))
    return head if plain else _first_bytes(url, 512)


def _first_bytes(url: str, length: int) -> bytes:
    if storage.is_local(url):
        with open(storage.local_path(url), "rb") as file:
            return file.read(length)
    return storage.read_range(url, 0, length)


def _refuse_other_formats(url: str, head: bytes, field: str) -> None:
    name = public_name(url)
    if begins_like_tar(head):
        return  # whatever the name of its first member looks like: BMW.jpg, BZh.jpg
    for magic, tool in COMPRESSED.items():
        if head.startswith(magic):
            raise InputError(
                f"{name} is compressed ({tool}); shards must be plain tars, since single samples are read from them",
                field=field,
                advice="decompress it first",
            )
    if head.startswith(IMAGES):
        raise InputError(f"{name} is an image, not a shard; give the folder that holds it", field=field)
    # What is called a tar and is none was damaged: that is the ledger's business, and no reason to refuse a pool.
    if not _is_called_tar(url):
        raise InputError(f"{name} is no tar; give shards, or @{name} if it is a list of URLs", field=field)


def _is_called_tar(url: str) -> bool:
    return url.partition("?")[0].endswith(".tar")


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
    states = storage.stat_many(urls)
    return [
        Source("embeddings", array, public_name(array), states[array], storage.join(url, "metadata", table))
        for array, table in zip(urls, beside, strict=True)
    ]


def _own_parts(url: str) -> list[Source]:
    """The finished parts of another run."""
    table = parquet.read_table(storage.join(url, "parts.parquet"), schemas.PARTS, error=InputError)
    done = {int(name.partition("-")[0]) for name in storage.list_names(storage.join(url, "done"))}
    missing = [row["url"] for row in table.to_pylist() if row["part"] not in done]
    if missing:
        raise InputError(
            f"{url} is not finished: {len(missing)} parts are missing, the first of {missing[0]}; "
            "run its own command again first"
        )
    return [
        Source(
            "embeddings" if row["kind"] == "embeddings" else "part",
            storage.join(url, "img_emb", f"img_emb_{row['part']:08d}.npy"),
            row["url"],
            Stat(row["size"], row["version"]),
            storage.join(url, "metadata", f"metadata_{row['part']:08d}.parquet"),
            row["kind"],
        )
        for row in table.to_pylist()
    ]
