import io
import os
import signal
import struct
import subprocess
import sys
import tarfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image, ImageOps

from curator.errors import Reason, SampleError
from curator.images.decode import decode_image

# pytest puts its own filters before ours; test_no_warnings_leak looks at the real ones.
pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\.")

RED, BLUE = (255, 0, 0), (0, 0, 255)


def pixels(data: bytes, **options: int) -> np.ndarray:
    """Decoded, as int (height, width, 3)."""
    decoded = decode_image(data, **options)
    assert decoded.pixels.shape == (3, decoded.height, decoded.width)
    return decoded.pixels.permute(1, 2, 0).numpy().astype(int)


def reference(data: bytes) -> np.ndarray:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB")).astype(int)


def refusal(data: bytes, **options: int) -> SampleError:
    with pytest.raises(SampleError) as caught:
        decode_image(data, **options)
    assert "\n" not in caught.value.detail
    return caught.value


def outcome(data: bytes, **options: int) -> np.ndarray | SampleError:
    try:
        return pixels(data, **options)
    except SampleError as error:
        return error


def png(width: int, height: int, bits: int, colour_type: int, rows: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG by hand, for what Pillow cannot write; rows with their filter bytes."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def with_chunk(data: bytes, name: bytes, content: bytes) -> bytes:
    """A PNG with one more chunk, before its pixels."""
    chunk = struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return data[:33] + chunk + data[33:]


def red_and_blue() -> Image.Image:
    """32 wide, 16 high: the left half red, the right half blue."""
    image = Image.new("RGB", (32, 16), RED)
    image.paste(BLUE, (16, 0, 32, 16))
    return image


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("JPEG", {"quality": 90}),
        ("JPEG", {"quality": 60, "subsampling": 2, "progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pixels_are_pillows(photo, encoded, form, options, mode):
    data = encoded(photo.convert(mode), form, **options)
    difference = np.abs(pixels(data) - reference(data))
    # Equal where torchvision and Pillow carry the same libjpeg; other builds round otherwise.
    assert difference.max() <= (4 if form == "JPEG" else 0)
    assert difference.mean() < 0.1


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1"])
@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF", "GIF"])
def test_pixels_of_other_modes_are_pillows(photo, encoded, form, mode):
    photo.putalpha(Image.linear_gradient("L").resize(photo.size))
    image = photo.convert("RGB").convert(mode) if mode in ("P", "1") else photo.convert(mode)
    try:
        data = encoded(image, form)
    except OSError:
        pytest.skip(f"{form} has no {mode}")
    assert np.abs(pixels(data) - reference(data)).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation(encoded, form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(red_and_blue(), form, exif=exif)
    seen = pixels(data)
    assert seen.shape == ((32, 16, 3) if orientation >= 5 else (16, 32, 3))
    assert np.abs(seen - reference(data)).max() <= 4
    # The red half: left, right, right, left; then on its side: top, top, bottom, bottom.
    along = seen.mean(axis=0) if orientation < 5 else seen.mean(axis=1)
    starts_red = along[2][0] > 200
    assert starts_red == (orientation in (1, 4, 5, 6))


def test_exif_behind_the_pixels_of_a_png(encoded):
    exif = Image.Exif()
    exif[0x0112] = 3
    data = encoded(red_and_blue(), "PNG")
    content = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = with_chunk(data, b"eXIf", content)[33 : 33 + len(content) + 12]
    late = data[:-12] + chunk + data[-12:]
    assert tuple(pixels(late)[0, 0]) == BLUE


def test_damaged_exif_does_not_spoil_the_picture(encoded):
    data = encoded(red_and_blue(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xffgarbage")
    assert np.abs(pixels(data)[0, 0] - RED).max() <= 4


def test_cmyk_jpeg_is_not_a_negative(photo, encoded):
    data = encoded(photo.convert("CMYK"), "JPEG", quality=95)
    assert np.abs(pixels(data) - np.asarray(photo).astype(int)).mean() < 6
    assert np.abs(pixels(data) - reference(data)).max() <= 4


def test_ycck_jpeg(photo, encoded):
    data = bytearray(encoded(photo.convert("CMYK"), "JPEG", quality=95))
    # The last byte of Adobe's marker says how the four channels were transformed.
    data[data.index(b"Adobe") + 11] = 2
    assert np.abs(pixels(bytes(data)) - reference(bytes(data))).max() <= 4


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_grey_takes_the_high_byte(encoded, form):
    values = np.array([[0x00FF, 0x0100], [0x80FF, 0xFFFF]], np.uint16)
    seen = pixels(encoded(Image.fromarray(values), form))
    assert seen[..., 0].tolist() == [[0, 1], [0x80, 0xFF]]


def test_16_bit_big_endian_tiff_takes_the_high_byte():
    # MM, one strip of two grey samples of 16 bits.
    tags = [(256, 3, 2), (257, 3, 1), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 122), (277, 3, 1), (279, 4, 4)]
    entries = b"".join(
        struct.pack(">HHI", tag, kind, 1) + (struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value))
        for tag, kind, value in tags
    )
    data = b"MM\0*\0\0\0\x08" + struct.pack(">H", len(tags)) + entries + bytes(4)
    data = data.ljust(122, b"\0") + bytes([0x12, 0x34, 0xFE, 0x01])
    assert pixels(data)[0, :, 0].tolist() == [0x12, 0xFE]


def test_16_bit_rgb_png_takes_the_high_byte():
    data = png(2, 1, 16, 2, b"\0" + bytes([1, 200, 2, 200, 3, 200, 255, 0, 254, 0, 253, 0]))
    assert pixels(data)[0].tolist() == [[1, 2, 3], [255, 254, 253]]


def test_16_bit_alpha_png_is_over_white():
    data = png(2, 1, 16, 4, b"\0" + bytes([10, 0, 255, 255, 10, 0, 0, 0]))
    assert pixels(data)[0].tolist() == [[10] * 3, [255] * 3]


@pytest.mark.parametrize(
    ("bits", "colour_type", "rows", "key"),
    [
        (8, 0, b"\0\x40\x80", b"\x00\x40"),
        (8, 2, b"\0\x40\x41\x42\x80\x80\x80", b"\x00\x40\x00\x41\x00\x42"),
        (16, 0, b"\0\x40\x07\x80\x80", b"\x40\x07"),
    ],
)
def test_a_colour_that_means_transparent(bits, colour_type, rows, key):
    assert pixels(png(2, 1, bits, colour_type, rows, (b"tRNS", key)))[0].tolist() == [[255] * 3, [128] * 3]


def test_palette_with_transparency():
    palette = (b"PLTE", bytes([*RED, *BLUE]))
    seen = pixels(png(2, 1, 8, 3, b"\0\0\1", palette, (b"tRNS", bytes([128]))))
    assert seen[0].tolist() == [[255, 127, 127], list(BLUE)]


def test_transparency_before_its_palette_gives_the_same_pixels_each_time():
    palette = (b"PLTE", bytes([*RED, *BLUE]))
    data = png(96, 64, 8, 3, (b"\0" + bytes([0, 1] * 48)) * 64, (b"tRNS", bytes([128])), palette)

    first = pixels(data)

    assert len(np.unique(first.reshape(-1, 3), axis=0)) == 2
    for value in range(20):
        # What freed memory holds must not be seen.
        [np.full(1 << size, value, np.uint8) for size in range(10, 20)]
        assert np.array_equal(pixels(data), first)


def test_32_bit_samples_are_refused(encoded):
    error = refusal(encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"))
    assert error.reason == Reason.DECODE_ERROR
    assert "32-bit" in error.detail


@pytest.mark.parametrize(("form", "options"), [("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})])
def test_the_first_frame_of_an_animation(encoded, form, options):
    frames = [Image.new("RGB", (20, 10), RED), Image.new("RGB", (20, 10), BLUE)]
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 2
    assert (pixels(data) == RED).all()


def test_empty():
    assert refusal(b"").reason == Reason.EMPTY_IMAGE


def test_a_text_that_calls_itself_an_image():
    error = refusal(b"<html>404 not found</html>")
    assert error.reason == Reason.DECODE_ERROR
    assert "<html>404" in error.detail
    assert "0x" not in error.detail


def test_formats_that_start_other_programs_are_not_tried(encoded):
    assert refusal(encoded(red_and_blue(), "EPS")).reason == Reason.DECODE_ERROR


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {}),
    ],
)
def test_a_file_cut_off_anywhere_is_whole_or_refused(photo, encoded, form, options):
    data = encoded(photo, form, **options)
    whole = pixels(data)
    refused = 0
    for cut in range(1, len(data), max(1, len(data) // 60)):
        result = outcome(data[:cut])
        if isinstance(result, np.ndarray):
            assert (result == whole).all()
        else:
            assert result.reason == Reason.DECODE_ERROR
            refused += 1
    assert refused > 50


def test_a_large_header_is_refused_without_decoding(monkeypatch):
    monkeypatch.setattr("curator.images.decode._decode_native", lambda image, data: pytest.fail("decoded"))
    error = refusal(png(12_000, 10_000, 8, 2, b""))
    assert error.reason == Reason.TOO_MANY_PIXELS
    assert "12000 x 10000" in error.detail


def test_pillows_own_limit_is_too_many_pixels():
    error = refusal(png(30_000, 10_000, 8, 2, b""), max_pixels=10**12)
    assert error.reason == Reason.TOO_MANY_PIXELS


@pytest.mark.parametrize("name", [b"zTXt", b"iCCP"])
def test_text_that_inflates_to_gigabytes(encoded, name):
    bomb = with_chunk(encoded(red_and_blue(), "PNG"), name, b"k\0\0" + zlib.compress(bytes(20_000_000)))
    assert refusal(bomb).reason == Reason.TOO_MANY_PIXELS


def test_max_pixels_and_min_side_are_inclusive(encoded):
    data = encoded(red_and_blue(), "PNG")
    assert decode_image(data, max_pixels=512, min_side=16).width == 32
    assert refusal(data, max_pixels=511).reason == Reason.TOO_MANY_PIXELS
    assert refusal(data, min_side=17).reason == Reason.TOO_SMALL
    # Judged before decoding: half of the file is enough.
    assert refusal(data[: len(data) // 2], min_side=17).reason == Reason.TOO_SMALL


@settings(max_examples=200)
@given(st.data())
def test_no_bytes_do_anything_but_decode_or_be_refused(data):
    start = data.draw(st.sampled_from([_small("JPEG"), _small("PNG"), _small("WEBP"), _small("GIF"), _small("TIFF")]))
    mutated = bytearray(start)
    for _ in range(data.draw(st.integers(1, 8))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    result = outcome(bytes(mutated), max_pixels=10_000)
    if isinstance(result, np.ndarray):
        assert result.size <= 3 * 10_000
    else:
        assert "\n" not in result.detail


def _small(form: str) -> bytes:
    buffer = io.BytesIO()
    red_and_blue().save(buffer, form)
    return buffer.getvalue()


def test_threads_decode_the_same(photo, encoded):
    files = [encoded(photo.rotate(turn), form) for turn in range(20) for form in ("JPEG", "PNG", "GIF", "WEBP")]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(pixels, files))
    for data, seen in zip(files, together, strict=True):
        assert (seen == pixels(data)).all()


def test_no_warnings_leak():
    # In a process of its own, because pytest has filters of its own.
    code = """
import io, sys, warnings
from PIL import Image
from curator.images.decode import decode_image
buffer = io.BytesIO()
Image.new("RGB", (8, 8)).save(buffer, "TIFF", exif=b"")
Image.MAX_IMAGE_PIXELS = 50
decode_image(buffer.getvalue())
Image.new("RGB", (8, 8)).save(buffer := io.BytesIO(), "JPEG")
decode_image(buffer.getvalue())
"""
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=True)
    assert "DecompressionBomb" not in done.stderr
    assert "PIL" not in done.stderr


def test_the_imitated_crash():
    code = "from curator.images.decode import decode_image; decode_image(b'a poisoned image')"
    environment = os.environ | {"CURATOR_TEST_ABORT_ON": "poison"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert done.returncode == -signal.SIGABRT
    # Not in this process, where the variable is not set.
    assert refusal(b"a poisoned image").reason == Reason.DECODE_ERROR


@pytest.mark.shared_data
@pytest.mark.parametrize("shard", ["pool-000010.tar", "target-000000.tar"])
def test_real_images_are_pillows(shard):
    folder = os.environ.get("CURATOR_TEST_DATA")
    if not folder:
        pytest.skip("CURATOR_TEST_DATA is not set")
    with tarfile.open(Path(folder) / shard) as tar:
        names = [member for member in tar if not member.name.endswith(".json")][:150]
        files = [(member.name, tar.extractfile(member).read()) for member in names]
    assert len(files) > 50
    for name, data in files:
        difference = np.abs(pixels(data) - reference(data))
        assert difference.max() <= (4 if name.endswith("jpg") else 1), name
        assert difference.mean() < 0.1, name
