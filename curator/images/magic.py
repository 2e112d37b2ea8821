"""What a file is, by its first bytes."""

from __future__ import annotations

__all__ = ["HEAD", "image_ending", "text_kind"]

# So many bytes tell every image format below.
HEAD = 32

_MAGIC = {b"\xff\xd8\xff": "jpg", b"\x89PNG\r\n\x1a\n": "png", b"GIF87a": "gif", b"GIF89a": "gif"}
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Sizes of the headers that follow the 14 bytes of a BMP's own: "BM" alone begins many a text.
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
# The main brand of an ISO base media file. CR3 (raw photos), MOV and MP4 are such files too, of other brands.
_AVIF = (b"avif", b"avis")
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_TEXTS = {
    b"version https://git-lfs": "a git-lfs pointer",
    b"<!doctype html": "an HTML page",
    b"<html": "an HTML page",
    b"<?xml": "an XML document",
    b"<error": "an XML document",
}


def image_ending(head: bytes) -> str:
    """The usual ending of an image's format; empty where these bytes begin no image.

    Args:
        head: the first `HEAD` bytes of a file, or more.

    >>> image_ending(b"\\xff\\xd8\\xff\\xe0\\0\\x10JFIF")
    'jpg'
    >>> image_ending(b"BMW is a car, and this is a text")
    ''
    """
    for magic, ending in _MAGIC.items():
        if head.startswith(magic):
            return ending
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith(_TIFF):
        return "tif"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "bmp"
    if head[4:8] == b"ftyp":
        brands = head[8:12], head[16:20], head[20:24], head[24:28], head[28:32]
        if any(brand in _AVIF for brand in brands):
            return "avif"
        return "heic" if brands[0] in _HEIF else ""
    return ""


def text_kind(head: bytes) -> str:
    """The name of a text that often stands where a file should be; empty for anything else.

    >>> text_kind(b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>')
    'an XML document'
    """
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:64].lower()
    return next((name for magic, name in _TEXTS.items() if start.startswith(magic)), "")
