"""Thumbnails from the original bytes: only the ranges that are needed, many at once, and never longer than a minute."""

from __future__ import annotations

import base64
import hashlib
import io
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from PIL import Image

from curator.errors import CuratorError, SampleError
from curator.io import public_text, storage

__all__ = ["LARGE_SIDE", "SIDE", "Original", "Thumbnail", "Thumbnails", "read_thumbnails"]

# The longer side in pixels, on a page and on a contact sheet, which is drawn for screens of twice the density; seconds
# for all of a page; and how many are read at a time.
SIDE = 96
LARGE_SIDE = 192
SECONDS = 60.0
THREADS = 16
QUALITY = 80
# A sheet is compressed once more.
LARGE_QUALITY = 95

NO_TIME = "there was no time left to read it"


@dataclass(frozen=True)
class Original:
    """Where the bytes of an image are.

    Attributes:
        kind: of its source: `tar`, `folder` or `embeddings`; `file` of an image that is in no source.
        shard: the source, or that file.
        key: the sample's key; in a folder its path.
        offset: of its bytes in a shard; None where that is unknown.
        size: in bytes.
        sha256: of its bytes; None where that is unknown.
        url: where the source is read since it moved; empty where it did not.
    """

    kind: str
    shard: str
    key: str = ""
    offset: int | None = None
    size: int | None = None
    sha256: str | None = None
    url: str = ""


@dataclass(frozen=True)
class Thumbnail:
    """One image in the sizes in which it is shown, both from one read.

    Attributes:
        small: JPEG of at most 96 x 96 pixels.
        large: JPEG of at most 192 x 192 pixels.
    """

    small: bytes
    large: bytes

    @property
    def url(self) -> str:
        """The small one, as pages hold it."""
        return f"data:image/jpeg;base64,{base64.b64encode(self.small).decode()}"


@dataclass(frozen=True)
class Thumbnails:
    """What could be read.

    Attributes:
        images: of each original; None where there is none.
        missing: why there is none, for each; empty where there is one.
    """

    images: Sequence[Thumbnail | None] = ()
    missing: Sequence[str] = ()

    @property
    def failures(self) -> list[tuple[str, int]]:
        """Why thumbnails are missing, and how many; the most first."""
        return Counter(reason for reason in self.missing if reason).most_common()


def read_thumbnails(originals: Sequence[Original], seconds: float = SECONDS) -> Thumbnails:
    """The thumbnails of some images, the first ones first.

    Cost: one range request an image. What has not come after `seconds` is left out, and says so.
    """
    end = time.monotonic() + seconds

    def thumbnail(original: Original) -> Thumbnail:
        if time.monotonic() > end:
            raise TimeoutError
        return _thumbnail(_read(original))

    threads = ThreadPoolExecutor(THREADS)
    tasks = [threads.submit(thumbnail, original) for original in originals]
    wait(tasks, timeout=seconds)
    threads.shutdown(wait=False, cancel_futures=True)
    results = [_outcome(task) for task in tasks]
    return Thumbnails([image for image, _ in results], [missing for _, missing in results])


def _outcome(task: Future[Thumbnail]) -> tuple[Thumbnail | None, str]:
    if task.cancelled() or not task.done():
        return None, NO_TIME
    error = task.exception()
    if error is None:
        return task.result(), ""
    if isinstance(error, TimeoutError):
        return None, NO_TIME
    if isinstance(error, FileNotFoundError):
        return None, "its source is not there any more"
    if isinstance(error, SampleError | CuratorError):
        return None, public_text(str(error))
    # Every filesystem has errors of its own.
    return None, public_text(f"its source cannot be read ({type(error).__name__})")


def _read(original: Original) -> bytes:
    """The bytes of an image, which are those that were embedded."""
    url = original.url or original.shard
    if original.kind == "file":
        data = storage.read_bytes(url)
    elif original.kind == "folder":
        data = storage.read_bytes(storage.join(url, original.key))
    elif original.kind == "embeddings" or original.offset is None or original.size is None:
        raise CuratorError("it came as an embedding, and nothing says where its image is")
    else:
        data = storage.read_range(url, original.offset, original.offset + original.size)
    if original.sha256 is not None and hashlib.sha256(data).hexdigest() != original.sha256:
        raise CuratorError("its source changed since it was embedded")
    return data


def _thumbnail(data: bytes) -> Thumbnail:
    # Torch comes with it: a run that shows no picture needs none.
    from curator.images import decode_image

    image = Image.fromarray(decode_image(data).pixels.permute(1, 2, 0).numpy())
    return Thumbnail(_jpeg(image, SIDE, QUALITY), _jpeg(image, LARGE_SIDE, LARGE_QUALITY))


def _jpeg(image: Image.Image, side: int, quality: int) -> bytes:
    small = image.copy()
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
