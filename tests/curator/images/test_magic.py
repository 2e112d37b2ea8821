import io

import pytest
from PIL import Image

from curator.images.magic import HEAD, image_ending, text_kind


@pytest.mark.parametrize(
    ("form", "ending"),
    [
        ("JPEG", "jpg"),
        ("PNG", "png"),
        ("GIF", "gif"),
        ("WEBP", "webp"),
        ("TIFF", "tif"),
        ("BMP", "bmp"),
        ("AVIF", "avif"),
    ],
)
def test_what_pillow_writes(form, ending):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, form)
    assert image_ending(buffer.getvalue()[:HEAD]) == ending


@pytest.mark.parametrize(
    ("head", "ending"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "heic"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "avif"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", ""),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  \0\0", ""),
        (b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41", ""),
        (b"BMW is a car, and this is a text", ""),
        (b"RIFF\x24\0\0\0WAVEfmt ", ""),
        (b"FUJIFILMCCD-RAW 0201", ""),
        (b"%PDF-1.7", ""),
        (b"", ""),
    ],
)
def test_what_others_write(head, ending):
    assert image_ending(head) == ending


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "a git-lfs pointer"),
        (b"\xef\xbb\xbf<!DOCTYPE HTML>", "an HTML page"),
        (b"  \n<HTML lang=en>", "an HTML page"),
        (b"<Error><Code>", "an XML document"),
        (b"version 3 of this file", ""),
        (b"\x89PNG", ""),
    ],
)
def test_texts(head, kind):
    assert text_kind(head) == kind
