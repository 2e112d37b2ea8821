"""Images that decoders stumble over: shown as a viewer shows them, or refused with a reason that is true."""

import gzip
import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from curator.errors import Reason, SampleError
from curator.images.decode import decode_image
from curator.images.heif import can_read_heif

pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\.")


def pixels(data):
    return decode_image(data).pixels.permute(1, 2, 0).numpy()


def refusal(data):
    with pytest.raises(SampleError) as caught:
        decode_image(data)
    return caught.value


def tiff(array, order="<", photometric=2, planar=1, extra=None, rows_per_strip=None):
    """An uncompressed TIFF by hand: array (H, W), (H, W, S), or with planar=2 (S, H, W), uint16."""
    planes = array if planar == 2 else array[None]
    height, width = planes.shape[1:3]
    samples = len(planes) if planar == 2 else (array.shape[2] if array.ndim == 3 else 1)
    step = rows_per_strip or height
    strips = [
        plane[row : row + step].astype(order + "u2").tobytes() for plane in planes for row in range(0, height, step)
    ]
    tags = {256: [width], 257: [height], 258: [16] * samples, 259: [1], 262: [photometric], 277: [samples]}
    tags |= {278: [step], 284: [planar], 279: [len(strip) for strip in strips]}
    tags |= {338: [extra]} if extra is not None else {}
    tags[273] = [0] * len(strips)
    start = 8 + 2 + 12 * len(tags) + 4
    values_at = start
    for values in tags.values():
        start += 4 * len(values) if len(values) > 1 else 0
    for number, strip in enumerate(strips):
        tags[273][number] = start
        start += len(strip)
    entries, rest = b"", b""
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}I", *values)
        if len(values) > 1:
            entries += struct.pack(order + "HHII", tag, 4, len(values), values_at + len(rest))
            rest += packed
        else:
            entries += struct.pack(order + "HHI", tag, 4, 1) + packed
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags))
    return head + entries + bytes(4) + rest + b"".join(strips)


GREY = np.array([[0x0012, 0x1234, 0x80FF], [0xFFFF, 0xC000, 0x0100]], np.uint16)
RGB = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=2)


@pytest.mark.parametrize(("order", "photometric"), [("<", 0), ("<", 1), (">", 1)])
def test_16_bit_grey_tiff_whatever_means_white(order, photometric):
    stored = 0xFFFF - GREY if photometric == 0 else GREY
    seen = pixels(tiff(stored, order, photometric))
    assert (seen == (GREY >> 8)[:, :, None]).all()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("rows_per_strip", [None, 1])
def test_16_bit_rgb_tiff_pixel_by_pixel_and_plane_by_plane(order, planar, rows_per_strip):
    stored = np.moveaxis(RGB, 2, 0) if planar == 2 else RGB
    assert (pixels(tiff(stored, order, 2, planar, rows_per_strip=rows_per_strip)) == RGB >> 8).all()


def test_16_bit_planes_with_a_fourth_that_is_infrared_or_alpha():
    stored = np.concatenate([np.moveaxis(RGB, 2, 0), np.zeros_like(GREY)[None]])
    assert (pixels(tiff(stored, planar=2, extra=0)) == RGB >> 8).all()
    assert (pixels(tiff(stored, planar=2, extra=2)) == 255).all()


def test_16_bit_planes_that_are_cut_off_or_no_rgb():
    stored = np.moveaxis(RGB, 2, 0)
    assert refusal(tiff(stored, planar=2)[:-2]).reason == Reason.DECODE_ERROR
    four = np.concatenate([stored, stored[:1]])
    assert "separate planes" in refusal(tiff(four, photometric=5, planar=2)).detail


def test_what_pillow_does_not_open_is_not_said_to_be_no_tiff():
    # As satellite images come: three samples of 16 bits that the file calls grey.
    error = refusal(tiff(RGB, photometric=1))
    assert error.reason == Reason.DECODE_ERROR
    assert error.detail.startswith("it begins like tif")


def test_avif(photo, encoded):
    data = encoded(photo, "AVIF", quality=95)
    assert np.abs(pixels(data).astype(int) - np.asarray(photo)).mean() < 4


def test_avif_is_turned_as_a_viewer_turns_it(photo, encoded):
    exif = Image.Exif()
    exif[0x0112] = 6
    seen = pixels(encoded(photo, "AVIF", quality=95, exif=exif))
    assert seen.shape == (96, 64, 3)
    assert np.abs(seen.astype(int) - np.asarray(photo.rotate(-90, expand=True))).mean() < 4


def test_heic_is_read_and_turned_as_a_viewer_turns_it(photo, encoded):
    pytest.importorskip("pillow_heif").register_heif_opener()
    assert np.abs(pixels(encoded(photo, "HEIF", quality=95)).astype(int) - np.asarray(photo)).mean() < 4
    exif = Image.Exif()
    exif[0x0112] = 6
    seen = pixels(encoded(photo, "HEIF", quality=95, exif=exif.tobytes()))
    assert seen.shape == (96, 64, 3)
    assert np.abs(seen.astype(int) - np.asarray(photo.rotate(-90, expand=True))).mean() < 4


def test_transparent_heic_is_shown_over_white(photo, encoded):
    pytest.importorskip("pillow_heif").register_heif_opener()
    clear = photo.copy()
    clear.putalpha(0)
    assert (pixels(encoded(clear, "HEIF", quality=95)) > 250).all()


def test_a_heic_that_is_cut_off_is_a_ledger_line(photo, encoded):
    pytest.importorskip("pillow_heif").register_heif_opener()
    data = encoded(photo, "HEIF", quality=95)
    for size in (40, len(data) // 2, len(data) - 10):
        assert refusal(data[:size]).reason is Reason.DECODE_ERROR


def test_heic_says_what_to_install(photo, encoded):
    if can_read_heif():
        pytest.skip("pillow-heif is installed")
    head = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500)
    error = refusal(head)
    assert "pip install 'coreset-curator[heic]'" in error.detail


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "a git-lfs pointer"),
        (b"\n<!DOCTYPE html><html>404</html>", "an HTML page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML document"),
        (gzip.compress(b"\xff\xd8\xff", mtime=0), "no JPEG"),
    ],
)
def test_what_stands_in_an_images_place(data, told):
    assert refusal(data).detail.startswith(told)


def progressive(photo, encoded, repeated):
    """A progressive JPEG whose last scan stands there many times."""
    data = encoded(photo, "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * repeated + data[-2:]


def test_a_jpeg_of_thousands_of_scans_is_refused_by_its_bytes(photo, encoded, monkeypatch):
    data = progressive(photo, encoded, 5000)
    limit = 5000 * photo.width * photo.height
    monkeypatch.setattr("curator.images.decode._MAX_SCANNED", limit)
    monkeypatch.setattr("curator.images.decode._decode_native", lambda image, data: pytest.fail("decoded"))
    error = refusal(data)
    assert error.reason == Reason.TOO_MANY_PIXELS
    assert error.detail == "5010 scans of 96 x 64 pixels: at most 5000 are decoded"


def test_as_many_scans_as_may_be_are_decoded(photo, encoded, monkeypatch):
    data = progressive(photo, encoded, 10)
    monkeypatch.setattr("curator.images.decode._MAX_SCANNED", 20 * photo.width * photo.height)
    assert pixels(data).shape == (64, 96, 3)


def test_scans_of_a_preview_are_not_the_images(photo, encoded, monkeypatch):
    # An embedded preview, and bytes after the end, look like scans to a plain search.
    preview = b"\xff\xda" * 100
    data = encoded(photo, "JPEG")
    data = data[:2] + b"\xff\xe5" + struct.pack(">H", 2 + len(preview)) + preview + data[2:] + preview
    monkeypatch.setattr("curator.images.decode._MAX_SCANNED", 20 * photo.width * photo.height)
    assert pixels(data).shape == (64, 96, 3)


def png_chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def noisy_images(photo, encoded):
    """Images over which libpng, libjpeg, libtiff and Pillow print something."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[68:80] = struct.pack(">III", 62269, 65536, 71371)  # D65 where D50 must stand
    yield encoded(photo, "PNG", icc_profile=bytes(profile))
    png = encoded(photo, "PNG")
    yield png[:33] + png_chunk(b"tRNS", b"12") + png[33:]
    yield png[:33] + png_chunk(b"iCCP", b"x\0\0not zlib") + png[33:]
    rows = b"".join(b"\0" + row.tobytes() for row in np.asarray(photo))
    yield png[:33] + png_chunk(b"IDAT", zlib.compress(rows + bytes(99))) + png_chunk(b"IEND", b"")
    yield png[:33] + png_chunk(b"IDAT", zlib.compress(rows[:999])) + png_chunk(b"IEND", b"")
    jpeg = encoded(photo, "JPEG")
    yield jpeg[:-2] + bytes(range(1, 200)) + jpeg[-2:]
    lzw = bytearray(encoded(photo, "TIFF", compression="tiff_lzw"))
    lzw[200:260] = bytes(range(1, 61))
    yield bytes(lzw)
    yield tiff(np.dstack([GREY] * 9), photometric=1)


@pytest.mark.skipif(sys.platform != "linux", reason="what C code prints is caught with glibc only")
def test_no_library_prints_to_stderr(photo, encoded, tmp_path):
    code = """
import sys
from pathlib import Path
from curator.errors import SampleError
from curator.images.decode import decode_image
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        decode_image(path.read_bytes())
    except SampleError:
        pass
print("Python still speaks", file=sys.stderr)
import ctypes
libc = ctypes.CDLL(None)
libc.perror(b"C still speaks")
"""
    for number, data in enumerate(noisy_images(photo, encoded)):
        (tmp_path / f"{number}").write_bytes(data)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    python, c = done.stderr.splitlines()
    assert python == "Python still speaks"
    assert c.startswith("C still speaks")


@pytest.mark.parametrize("form", ["GIF", "BMP", "WEBP", "PNG"])
def test_the_ending_decides_nothing(photo, encoded, form):
    seen = pixels(encoded(photo, form)).astype(int)
    assert np.abs(seen - np.asarray(photo)).mean() < 20


def test_trailing_bytes_do_not_spoil_a_picture(photo, encoded):
    data = encoded(photo, "JPEG")
    assert (pixels(data + bytes(4096) + b"<html>") == pixels(data)).all()


def test_an_image_of_any_mode_of_tiff(photo):
    for mode in ("1", "L", "CMYK", "LAB"):
        buffer = io.BytesIO()
        image = photo.convert(mode) if mode != "LAB" else _lab(photo)
        image.save(buffer, "TIFF")
        assert pixels(buffer.getvalue()).shape == (64, 96, 3)


def _lab(photo):
    return ImageCms.profileToProfile(
        photo, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
