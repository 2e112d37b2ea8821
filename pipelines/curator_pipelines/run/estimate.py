"""How many samples there are before anyone has counted: from sizes.json, array headers, or a first look."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from curator.errors import CuratorError
from curator.io import storage
from curator.sources import Source, list_images, read_samples

__all__ = ["estimate_samples"]

# How far into a shard a first look goes.
LOOK_SAMPLES = 200


def estimate_samples(
    sources: Sequence[Source], ready_rows: Mapping[str, int], bytes_per_sample: float | None = None
) -> float | None:
    """Samples in all sources: an int where every count is known, a float where it is estimated.

    Counts come from `sizes.json` beside the shards (webdataset's convention) and folder listings. Where a tar has
    none, its size is divided by `bytes_per_sample`, or else by what the first samples of the first such tar take.
    None if that fails too.

    Args:
        sources: the sources.
        ready_rows: name -> rows of those that are ready embeddings.
        bytes_per_sample: of a tar, where that is known.
    """
    known, unknown_bytes = 0, 0
    first: Source | None = None
    sizes = _sizes_beside(sources)
    try:
        for source in sources:
            if source.is_ready:
                known += ready_rows[source.name]
            elif source.kind == "folder":
                known += len(list_images(source.url))
            elif source.url in sizes:
                known += sizes[source.url]
            else:
                first = first or source
                unknown_bytes += source.stat.size
    except (OSError, CuratorError):
        return None
    if first is None:
        return known
    per_sample = bytes_per_sample or _bytes_per_sample(first)
    return known + unknown_bytes / per_sample if per_sample else None


def _sizes_beside(sources: Sequence[Source]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for folder in {source.url.rpartition("/")[0] for source in sources if source.kind == "tar"}:
        try:
            listed = json.loads(storage.read_bytes(storage.join(folder, "sizes.json")))
            sizes |= {storage.join(folder, name): int(count) for name, count in listed.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            continue
    return sizes


def _bytes_per_sample(source: Source) -> float | None:
    count = 0
    try:
        with storage.open_stream(source.url) as stream:
            for item in read_samples(stream, source.name, keep=lambda member: False):
                count += 1
                if count == LOOK_SAMPLES:
                    return max(item.offset, 1) / count
    except OSError:
        return None
    return source.stat.size / count if count else None
