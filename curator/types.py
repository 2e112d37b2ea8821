"""The things that travel along the line, in the order a sample meets them.

shard url -> read -> RawSample -> decode -> ImageBatch -> encode -> EmbeddingBlock -> stored part
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from curator.errors import Reason

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

__all__ = [
    "EmbeddingBlock",
    "ImageBatch",
    "LedgerLine",
    "Member",
    "Progress",
    "RawSample",
    "SampleRow",
    "ids_at",
    "join_id",
    "part_ids",
    "parts_of",
    "rows_of",
    "split_id",
    "unit_rows",
]

Progress: TypeAlias = Callable[[Mapping[str, int]], None]
"""Told how far something is: increments by what is counted, such as `{"rows": 16384}` or `{"samples": 32, "bad": 1}`.
Negative ones take back what a lost worker had told."""

IMAGE_EXTENSIONS = frozenset(
    {"jpg", "jpeg", "jpe", "jfif", "png", "webp", "avif", "heic", "heif", "bmp", "tif", "tiff", "gif"}
)


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a sample inside a shard.

    Attributes:
        ext: everything after the first dot of the file name, in its own case: `jpg`, `seg.png`.
        offset: byte position of the member's data in the shard.
        size: bytes of data.
        data: the bytes, or None where the reader was told not to keep them.
    """

    ext: str
    offset: int
    size: int
    data: bytes | None = None

    @property
    def is_image(self) -> bool:
        """True if the last dotted part of the extension is one of `IMAGE_EXTENSIONS`, in any case."""
        return self.ext.rpartition(".")[2].lower() in IMAGE_EXTENSIONS


@dataclass(frozen=True, slots=True)
class RawSample:
    """The adjacent members of a shard that share a key, as bytes.

    Attributes:
        shard: the shard's name (its URL without secrets).
        key: member path up to the first dot of its last part. Unique within the shard, not across shards.
        offset: byte position of the first member's header.
        members: in tar order.
        sha256: hex digest of the shard's bytes from the header of the first member to the end of the last one's
            data; None where it was not asked for, or where members lie elsewhere (links).
    """

    shard: str
    key: str
    offset: int
    members: tuple[Member, ...]
    sha256: str | None = None

    @property
    def image(self) -> Member | None:
        """The first member, in tar order, that is an image; None if there is none."""
        return next((member for member in self.members if member.is_image), None)


@dataclass(frozen=True, slots=True)
class SampleRow:
    """What is stored about an embedded sample: one row of a part's metadata, ids aside.

    Attributes:
        key: the sample's key.
        offset: byte position of its image's data in the shard.
        size: bytes of its image.
        sha256: hex digest of its image's bytes.
        width: pixels, as shown (EXIF orientation applied).
        height: pixels, as shown.
        members: all members, without their bytes.
        sample_sha256: see `RawSample.sha256`.
    """

    key: str
    offset: int
    size: int
    sha256: str
    width: int
    height: int
    members: tuple[Member, ...]
    sample_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """One sample that was left out, and why: a row of `quarantine.parquet`.

    Attributes:
        shard: the shard's name.
        key: the sample's key; empty where damage hides it.
        offset: byte position in the shard where the sample, or the damage, begins.
        station: where it was refused: `read`, `decode` or `encode`.
        reason: see `Reason`.
        detail: one line for a person.
    """

    shard: str
    key: str
    offset: int
    station: str
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """Decoded images, resized and cropped to one shape.

    Attributes:
        rows: one per image.
        pixels: uint8 tensor (batch size, 3, height, width); images beyond `len(rows)` are zeros, so that
            every forward pass has the same shape.
    """

    rows: list[SampleRow]
    pixels: torch.Tensor


@dataclass(frozen=True, slots=True)
class EmbeddingBlock:
    """Embedded samples.

    Attributes:
        rows: one per vector.
        vectors: float16 array (len(rows), dim), rows of unit length.
    """

    rows: list[SampleRow]
    vectors: np.ndarray


def join_id(part: int, row: int) -> int:
    """The int64 identity of a sample: `part << 32 | row`.

    >>> join_id(2, 5)
    8589934597
    """
    return part << 32 | row


def split_id(sample_id: int) -> tuple[int, int]:
    """The part and row of a sample id.

    >>> split_id(8589934597)
    (2, 5)
    """
    return sample_id >> 32, sample_id & 0xFFFFFFFF


def part_ids(part: int, rows: int) -> NDArray[np.int64]:
    """The ids of a part's first `rows` rows, int64 (rows,)."""
    import numpy as np

    return np.arange(rows, dtype=np.int64) + (part << 32)


def ids_at(part: int, rows: NDArray[Any]) -> NDArray[np.int64]:
    """The ids of some rows of a part, int64, of the shape of `rows`."""
    import numpy as np

    return np.asarray(rows, dtype=np.int64) + (part << 32)


def parts_of(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """The part of each id, int64, of the shape of `ids`."""
    return ids >> 32


def rows_of(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """The row of each id in its part, int64, of the shape of `ids`."""
    return ids & 0xFFFFFFFF


def unit_rows(
    rows: NDArray[Any], lengths: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Rows brought to unit length.

    Args:
        rows: (n, d), of any float type.
        lengths: float64 (n,), where they are known already: another order of summation gives other last bits.

    Returns:
        float64 (n, d); and bool (n,), False for rows that have no direction (their length is 0 or not finite): these
        stay as they are.

    >>> import numpy as np
    >>> unit, has_direction = unit_rows(np.array([[3, 4], [0, 0]], np.float16))
    >>> unit.tolist(), has_direction.tolist()
    ([[0.6, 0.8], [0.0, 0.0]], [True, False])
    """
    import numpy as np

    wide = rows.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        if lengths is None:
            lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide))
        has_direction = np.isfinite(lengths) & (lengths > 0)
        return wide / np.where(has_direction, lengths, 1.0)[:, None], has_direction
