"""A source of another version and the same size: if it holds what it held, its part stays, under a new identity."""

from __future__ import annotations

import pyarrow as pa

from curator.errors import CuratorError, Reason, SampleError
from curator.io import FileHash, npy, parquet, schemas, storage
from curator.sources import Source, read_source
from curator.store.done_mark import DoneMark
from curator.store.part_reader import NamedParts, Part
from curator.store.part_store import PartStore
from curator.types import LedgerLine, RawSample

__all__ = ["renew_part"]

# What a stored row says of its sample's bytes.
COMPARED = ["image_path", "offset", "size", "sha256", "sample_sha256", "members"]


def renew_part(store: PartStore, source: Source, old: Part, new: Part) -> DoneMark | None:
    """Store a finished part again under the identity of a newer version of its source, if nothing in it is different.

    The source is read, and not encoded. Costs that, and a copy of the part's array and metadata.

    Args:
        store: where the part is.
        source: its source, as it is now.
        old: the part, as it is finished.
        new: the same with the source's state now.

    Returns:
        the new done-mark; None where the part must be made anew: a sample is another, or the stored files are not
        what was written.

    Raises:
        UnreadableShard: storage failed.
    """
    mark = DoneMark.read(store.done_url(old.part, old.identity))
    # Not as parts.parquet has it: a kept part counts for nothing there.
    files = NamedParts(store.url, {old.part: old.identity})
    url, array_url = files.metadata_url(old.part), files.array_url(old.part)
    try:
        array, metadata = storage.read_bytes(array_url), storage.read_bytes(url)
    except FileNotFoundError:
        return None
    if (FileHash.of_bytes(array), FileHash.of_bytes(metadata)) != (mark.array, mark.metadata):
        return None
    table = parquet.read_table(url, schemas.METADATA, data=metadata)
    if not (
        _holds_the_same(source, table, mark, old.min_side) if source.kind == "tar" else _copies(source, table, mark)
    ):
        return None
    columns = {name: table[name] for name in schemas.METADATA.names}
    return store.write(new.part, new.identity, npy.parse_array(array, array_url), columns, mark)


def _holds_the_same(source: Source, table: pa.Table, mark: DoneMark, min_side: int) -> bool:
    stored = {row["image_path"]: row for row in table.select(COMPARED).to_pylist()}
    refused = {(line.key, line.offset): line for line in mark.ledger if line.station != "read"}
    unread = {(line.key, line.offset, line.reason) for line in mark.ledger if line.station == "read"}
    for item in read_source(source, keep=lambda member: member.is_image, hashed=True):
        if isinstance(item, LedgerLine):
            if (item.key, item.offset, item.reason) not in unread:
                return False
            unread.remove((item.key, item.offset, item.reason))
        elif row := stored.pop(item.key, None):
            if row != _row_of(item):
                return False
        elif not _is_refused_again(item, refused.pop((item.key, item.offset), None), min_side):
            return False
    return not (stored or refused or unread)


def _row_of(sample: RawSample) -> dict[str, object]:
    image = sample.image
    assert image is not None and image.data is not None
    return {
        "image_path": sample.key,
        "offset": image.offset,
        "size": image.size,
        "sha256": FileHash.of_bytes(image.data).sha256,
        "sample_sha256": sample.sha256,
        "members": [{"ext": m.ext, "offset": m.offset, "size": m.size} for m in sample.members],
    }


def _is_refused_again(sample: RawSample, line: LedgerLine | None, min_side: int) -> bool:
    """Whether an image that was refused is refused for the same reason; no hash of it was kept."""
    if line is None or line.station != "decode" or line.reason is Reason.DECODER_CRASH:
        return False
    # Torch comes with it, and nearly no run renews a part.
    from curator.images import decode_image

    assert sample.image is not None and sample.image.data is not None
    try:
        decode_image(sample.image.data, min_side=min_side)
    except SampleError as error:
        return error.reason is line.reason
    return False


def _copies(source: Source, table: pa.Table, mark: DoneMark) -> bool:
    """Whether another run's part holds the same samples, of the same bytes; embeddings that name no shard never do."""
    if source.kind != "part":
        return False
    theirs = parquet.read_table(source.metadata, schemas.METADATA, COMPARED, error=CuratorError)
    made = DoneMark.read(source.mark)
    return bool(theirs.equals(table.select(COMPARED))) and made.ledger == mark.ledger
