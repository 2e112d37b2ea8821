"""A folder of phone photos, odd images, profiles that libraries complain about (cases 12, 15 and 16)."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
from inputs_for_tests import Curator, chosen_keys, encoded, picture, select, write_tar
from PIL import Image, ImageCms

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def test_12_nothing_of_a_folder_of_phone_photos_vanishes(curator: Curator, tmp_path: Path) -> None:
    photos = tmp_path / "target"
    photos.mkdir()
    files = {"IMG_1.jpg": picture(1), "B.JPG": picture(2), "download (1).jfif": picture(3)}
    files |= {"web.avif": picture(4, "AVIF"), "film.mov": b"moov", "scan.pdf": b"%PDF"}
    files |= {f"IMG_{number}.HEIC": HEIC for number in range(5, 8)}
    for name, data in files.items():
        (photos / name).write_bytes(data)
    pool = [(f"{n}.{ext}", picture(20 + n, form)) for n, (ext, form) in enumerate(FORMS)]
    write_tar(tmp_path / "pool.tar", [*pool, ("x.ppm", picture(9, "PPM"))])
    ran = select(curator, tmp_path, tmp_path / "pool.tar", "--max-bad", "100%")
    assert ran.code == 0, ran.err
    assert sorted(chosen_keys(tmp_path)) == [str(number) for number in range(len(FORMS))]
    # With a package that reads HEIC, these three are damaged; without it, they are left out and counted.
    assert ".HEIC 3, " in ran.out + ran.err or "3 bad" in ran.out + ran.err
    assert ".mov 1, .pdf 1" in ran.out + ran.err
    assert "members: ppm" in curator("inspect", tmp_path / "run", "--bad").out


FORMS = [("jpg", "JPEG"), ("jfif", "JPEG"), ("avif", "AVIF"), ("jpg", "AVIF")]


def test_15_odd_images_are_read_or_told(curator: Curator, tmp_path: Path) -> None:
    photo = Image.effect_noise((48, 40), 40).convert("RGB")
    wide = Image.fromarray(np.arange(48 * 40, dtype=np.uint16).reshape(40, 48))
    jpeg = encoded(photo, "JPEG")
    sound = [
        ("cmyk.jpg", encoded(photo.convert("CMYK"), "JPEG")),
        ("rgb.jpg", encoded(photo, "JPEG", keep_rgb=True)),
        ("progressive.jpg", encoded(photo, "JPEG", progressive=True)),
        ("trailing.jpg", jpeg + bytes(4096)),
        ("a-png.jpg", encoded(photo, "PNG")),
        ("a-webp.png", encoded(photo, "WEBP")),
        ("grey16.tif", encoded(wide, "TIFF")),
        ("group4.tif", encoded(photo.convert("1"), "TIFF", compression="group4")),
        ("cmyk.tif", encoded(photo.convert("CMYK"), "TIFF")),
    ]
    odd = [
        ("gzip.jpg", gzip.compress(jpeg)),
        ("cut.jpg", jpeg[:-300]),
        ("float.tif", encoded(photo.convert("F"), "TIFF")),
        ("a.ppm", encoded(photo, "PPM")),
    ]
    named = [(f"{number:02d}-{name}", data) for number, (name, data) in enumerate([*sound, *odd])]
    ran = curator("inspect", write_tar(tmp_path / "odd.tar", named))
    assert ran.code == 0, ran.err
    assert f"samples     {len(sound)} good" in ran.out
    assert "bad         decode_error: 3, no_image: 1" in ran.out
    for told in ("begin with b'\\x1f\\x8b", "truncated", "32-bit samples", "members: ppm"):
        assert told in ran.out


def test_16_libraries_do_not_print_about_profiles(tmp_path: Path) -> None:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[68:72] = (62269).to_bytes(4, "big")  # another illuminant than D50
    files = [(f"{n}.png", picture(n, "PNG", icc_profile=bytes(profile))) for n in range(3)]
    pool = write_tar(tmp_path / "pool.tar", files)
    # Another process: what C code prints passes by Python's stderr.
    words = [sys.executable, "-m", "curator_pipelines", "inspect", str(pool)]
    ran = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "samples     3 good" in ran.stdout
    assert all(" inspect: " in line for line in ran.stderr.splitlines()), ran.stderr
