"""Image bytes to RGB pixels, as a viewer would show them, or the reason why that is not possible.

JPEG, PNG and WebP go through torchvision, which releases the GIL from end to end; everything else, and
whatever torchvision refuses, goes through Pillow. Both give the same pixels: Pillow's
`ImageOps.exif_transpose(image).convert("RGB")` with transparency over white is the reference.
"""

from __future__ import annotations

import io
import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torchvision.io as native

# Importing a plugin registers its format; searching for them later would be a race between threads.
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from curator.errors import Reason, SampleError
from curator.images.heif import HEIF_ADVICE, can_read_heif
from curator.images.jpeg import count_scans
from curator.images.magic import image_ending, text_kind
from curator.images.memory import decoding_bytes, is_out_of_memory
from curator.images.quiet import quiet
from curator.images.tiff import is_white_zero, read_planes

__all__ = ["MAX_PIXELS", "DecodedImage", "OpenedImage", "decode_image"]

MAX_PIXELS = 100_000_000

# Other formats are refused: some parsers of Pillow start another program (EPS) or were not made for hostile data.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
# Scans x pixels of a JPEG: about two seconds. A clock would judge by the load of the machine. Ordinary progressive
# JPEGs have about ten scans.
_MAX_SCANNED = 40 * MAX_PIXELS
_ORIENTATION = 0x0112
# How Pillow's messages begin when the text or colour profile of a PNG inflates beyond its limits.
_BOMB_MESSAGES = ("Decompressed data too large", "Too much memory used in text chunks")
_ABORT_ON = os.environ.get("CURATOR_TEST_ABORT_ON", "").encode()

# Set once for the process, since catch_warnings is not safe in threads. What matters goes to the ledger.
warnings.filterwarnings("ignore", module=r"PIL\.")
# Without a handler of its own, Python prints what Pillow logs.
logging.getLogger("PIL").addHandler(logging.NullHandler())
# Images are decoded side by side, each in a thread of its own.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """A decoded image.

    Attributes:
        pixels: uint8 tensor (3, height, width), RGB, of any memory layout.
        width: pixels, as shown (EXIF orientation applied).
        height: pixels, as shown.
    """

    pixels: torch.Tensor
    width: int
    height: int


class OpenedImage:
    """An image whose header was read and accepted, and whose pixels were not decoded yet; see `decode_image`.

    Attributes:
        decoding_bytes: an upper bound of the memory that `decode` takes beside the file's own bytes.

    Raises:
        SampleError: as `decode_image`, for all that a header tells.
    """

    def __init__(self, data: bytes, *, min_side: int = 0, max_pixels: int = MAX_PIXELS) -> None:
        if _ABORT_ON and _ABORT_ON in data:
            # Tests imitate a crash of native code with this: no exception, the process is gone.
            os.abort()
        if not data:
            raise SampleError(Reason.EMPTY_IMAGE, "0 bytes")
        self._data = data
        with _only_sample_errors(data), quiet():
            self._image = Image.open(io.BytesIO(data), formats=_formats())
            _check_size(self._image.width, self._image.height, min_side, max_pixels)
            _check_scans(self._image, data)
            self.decoding_bytes = decoding_bytes(self._image, data)

    def decode(self) -> DecodedImage:
        """The pixels; to be called once.

        Raises:
            SampleError: as `decode_image`.
            MemoryError: there is not enough of it.
        """
        data, image = self._data, self._image
        with _only_sample_errors(data):
            with quiet():
                pixels = _decode_native(image, data)
                if pixels is None:
                    pixels = _decode_pillow(image, data)
            pixels = _turn(pixels, _orientation(image))
        return DecodedImage(pixels, width=pixels.shape[2], height=pixels.shape[1])


def decode_image(data: bytes, *, min_side: int = 0, max_pixels: int = MAX_PIXELS) -> DecodedImage:
    """Decode one image: the first frame of an animation, the first page of a TIFF.

    JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, and HEIC where pillow-heif is installed. EXIF orientation is applied,
    transparency is shown over white, and of 16-bit samples the high byte is taken. Sizes, and the scans of a JPEG, are
    checked before anything is decoded. Safe to call from many threads.

    Args:
        data: the bytes of the whole file.
        min_side: refuse images with a shorter side than this many pixels.
        max_pixels: refuse images with more than this many pixels.

    Raises:
        SampleError: `EMPTY_IMAGE`, `DECODE_ERROR` (damaged, cut off, or no image at all),
            `TOO_MANY_PIXELS` (decompression bombs too, and JPEGs of thousands of scans) or `TOO_SMALL`.
        MemoryError: there is not enough of it.
    """
    return OpenedImage(data, min_side=min_side, max_pixels=max_pixels).decode()


@contextmanager
def _only_sample_errors(data: bytes) -> Iterator[None]:
    """Decoders fail on hostile bytes in every way there is; want of memory says nothing of the bytes."""
    try:
        yield
    except SampleError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise MemoryError(_one_line(error)) from error
        raise _as_sample_error(error, data) from error


def _formats() -> tuple[str, ...]:
    return (*_FORMATS, "HEIF") if can_read_heif() else _FORMATS


def _check_size(width: int, height: int, min_side: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise SampleError(Reason.TOO_MANY_PIXELS, f"{width} x {height} is more than {max_pixels} pixels")
    if min(width, height) < min_side:
        raise SampleError(Reason.TOO_SMALL, f"{width} x {height}: the shorter side is below {min_side}")


def _check_scans(image: Image.Image, data: bytes) -> None:
    if image.format not in ("JPEG", "MPO"):
        return
    most = _MAX_SCANNED // (image.width * image.height)
    if (scans := count_scans(data, most)) > most:
        detail = f"{scans} scans of {image.width} x {image.height} pixels: at most {most} are decoded"
        raise SampleError(Reason.TOO_MANY_PIXELS, detail)


def _decode_native(image: Image.Image, data: bytes) -> torch.Tensor | None:
    """Pixels (3, H, W) by torchvision, before any turn; None where Pillow has to decode the image."""
    keyed = "transparency" in image.info
    late_exif = image.format == "PNG" and b"eXIf" in data and "exif" not in image.info
    if keyed or image.mode == "P" or late_exif or (getattr(image, "is_animated", False) and image.format == "WEBP"):
        # torchvision ignores a colour key, an orientation behind the pixels, and animated WebP altogether. Of a palette
        # whose transparency stands in the wrong place it gives whatever was in the memory before.
        return None
    alpha = image.has_transparency_data
    mode = native.ImageReadMode.RGB_ALPHA if alpha else native.ImageReadMode.RGB
    # A copy, because torch warns about tensors over memory that cannot be written.
    encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    try:
        if image.format in ("JPEG", "MPO"):
            pixels = native.decode_jpeg(encoded, native.ImageReadMode.RGB)
        elif image.format == "PNG":
            pixels = native.decode_png(encoded, mode)
        elif image.format == "WEBP":
            pixels = native.decode_webp(encoded, mode)
        else:
            return None
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        return None
    if pixels.shape[1:] != (image.height, image.width):
        # The file has two headers: the decoder whose header was checked must read it.
        return None
    if pixels.dtype == torch.uint16:
        pixels = torch.from_numpy((pixels.numpy() >> 8).astype(np.uint8))
    return _over_white(pixels) if len(pixels) == 4 else pixels


def _decode_pillow(image: Image.Image, data: bytes) -> torch.Tensor:
    """Pixels (3, H, W) by Pillow, before any turn that Pillow did not make itself."""
    if (planes := read_planes(image, data)) is not None:
        return _over_white(torch.from_numpy(planes)) if len(planes) == 4 else torch.from_numpy(planes)
    image.load()
    if image.mode.startswith("I;16"):
        return _grey_16(image)
    if image.mode in ("I", "F"):
        raise SampleError(Reason.DECODE_ERROR, "32-bit samples, whose black and white are not defined")
    mode = "RGBA" if image.has_transparency_data else "RGB"
    pixels = torch.from_numpy(np.array(image.convert(mode))).permute(2, 0, 1)
    return _over_white(pixels) if len(pixels) == 4 else pixels


def _grey_16(image: Image.Image) -> torch.Tensor:
    array = np.asarray(image)
    grey = (array >> 8).astype(np.uint8)
    if is_white_zero(image):
        grey = np.bitwise_not(grey)
    image_key = image.info.get("transparency")
    if image_key is not None:
        grey[array == image_key] = 255
    return torch.from_numpy(grey).expand(3, *grey.shape)


def _over_white(rgba: torch.Tensor) -> torch.Tensor:
    """Composite (4, H, W) over white: 255 - (255 - colour) * alpha / 255, rounded to nearest."""
    # By planes and in 16 bits: a third of the time it takes in the decoder's interleaved layout.
    planes = rgba.contiguous().numpy()
    shade = np.bitwise_not(planes[:3]).astype(np.uint16)
    shade *= planes[3]
    # x / 255, rounded, in integers: (x + 128 + ((x + 128) >> 8)) >> 8; 65407 at most.
    shade += 128
    shade += shade >> 8
    shade >>= 8
    return torch.from_numpy(np.bitwise_not(shade.astype(np.uint8)))


def _orientation(image: Image.Image) -> int:
    try:
        # Not PNG's own method, which decodes the pixels to look for EXIF behind them.
        return int(Image.Image.getexif(image).get(_ORIENTATION, 1))
    except Exception:  # a damaged EXIF block does not spoil the picture
        return 1


def _turn(pixels: torch.Tensor, orientation: int) -> torch.Tensor:
    """Apply an EXIF orientation, 1 to 8, to (3, H, W)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 2)
    flips = {2: (2,), 3: (1, 2), 4: (1,), 6: (2,), 7: (1, 2), 8: (1,)}.get(orientation)
    return pixels.flip(flips) if flips else pixels


def _as_sample_error(error: Exception, data: bytes) -> SampleError:
    if isinstance(error, Image.DecompressionBombError) or str(error).startswith(_BOMB_MESSAGES):
        return SampleError(Reason.TOO_MANY_PIXELS, _one_line(error))
    if isinstance(error, UnidentifiedImageError):
        return SampleError(Reason.DECODE_ERROR, _what_instead(data))
    return SampleError(Reason.DECODE_ERROR, _one_line(error))


def _what_instead(data: bytes) -> str:
    """What bytes are that Pillow does not open."""
    ending = image_ending(data)
    if ending == "heic" and not can_read_heif():
        return f"an HEIC image, and pillow-heif is not installed: {HEIF_ADVICE}"
    if ending:
        return f"it begins like {ending} and is damaged, or its samples are of a kind that Pillow does not read"
    what = text_kind(data) or "no JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC"
    return f"{what}: its {len(data)} bytes begin with {data[:16]!r}"


def _one_line(error: Exception) -> str:
    # Without addresses in memory: the ledger is the same in every run.
    text = re.sub(r" at 0x[0-9a-f]+", "", " ".join(str(error).split()))
    return text[:200] or type(error).__name__
