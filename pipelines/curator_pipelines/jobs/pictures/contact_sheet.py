"""Contact sheets: many small images as one PNG or JPEG, each with what is known of it below.

A sheet has a title, bands of tiles under a heading each, and a legend. It is drawn for screens of twice the density. It
is a function of what it shows: no place and no time stands on it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from curator.io import printable, storage
from curator_pipelines.jobs.pictures.album import Picture, Strip
from curator_pipelines.jobs.pictures.thumbnails import LARGE_SIDE

__all__ = ["SHEET", "Band", "Tile", "band_of", "draw_sheet", "tile_of", "write_sheet"]

SHEET = "contact_sheet.jpg"
QUALITY = 88
# In pixels: a tile, the gaps between tiles and between a tile and its words, and the margin of the sheet, which also
# parts groups of tiles.
TILE = LARGE_SIDE
GAP = 12
WORDS_GAP = 4
MARGIN = 28
# Sizes of letters.
TITLE, HEADING, TEXT = 36, 27, 20
# A band with more tiles has several lines. A narrower sheet has no room for a title.
COLUMNS = 12
LEAST_COLUMNS = 5
INK, PALE, LINE, MISSING = "#1a1a1a", "#5a5a5a", "#c8c8c8", "#b00020"


@dataclass(frozen=True)
class Tile:
    """One image of a sheet.

    Attributes:
        image: JPEG; None where there is none.
        lines: what stands below it.
        missing: why there is no image.
    """

    image: bytes | None
    lines: Sequence[str] = ()
    missing: str = ""


@dataclass(frozen=True)
class Band:
    """Tiles that belong together.

    Attributes:
        title: what they are.
        tiles: in order.
        note: what to know of them.
        group: so many tiles belong together, such as 2 for pairs.
    """

    title: str
    tiles: Sequence[Tile]
    note: str = ""
    group: int = 1


def tile_of(picture: Picture, *lines: str) -> Tile:
    """A tile with the score, the note and the key of a picture below it, or with these lines."""
    score = "" if picture.score is None else f"{picture.score:.4f}"
    # A tile is too narrow for all of a note in one line.
    said = lines or tuple(filter(None, (score, *picture.note.split(", "), picture.key)))
    return Tile(picture.thumbnail.large if picture.thumbnail else None, said, picture.missing)


def band_of(strip: Strip) -> Band:
    """The same pictures on a sheet."""
    return Band(strip.title, [tile_of(picture) for picture in strip.pictures], strip.note)


def write_sheet(url: str, title: str, legend: str, bands: Sequence[Band]) -> bool:
    """Draw a sheet and store it, as JPEG where its name says so, else as PNG.

    Returns:
        whether there was anything to draw: a sheet without a single image is none.
    """
    if not any(tile.image for band in bands for tile in band.tiles):
        return False
    buffer = io.BytesIO()
    sheet = draw_sheet(title, legend, bands)
    if url.lower().endswith((".jpg", ".jpeg")):
        sheet.save(buffer, "JPEG", quality=QUALITY)
    else:
        sheet.save(buffer, "PNG")
    storage.write_bytes(url, buffer.getvalue())
    return True


def draw_sheet(title: str, legend: str, bands: Sequence[Band]) -> Image.Image:
    """Draw a sheet, as wide as its longest band needs."""
    shown = [band for band in bands if band.tiles]
    lefts = [_left(LEAST_COLUMNS - 1, 1), *(_left(_columns(band) - 1, band.group) for band in shown)]
    width = max(lefts) + TILE + MARGIN
    # Twice: the first time to learn how high it is.
    height = _draw(None, width, title, legend, shown)
    sheet = Image.new("RGB", (width, height), "white")
    _draw(sheet, width, title, legend, shown)
    return sheet


def _columns(band: Band) -> int:
    """As many as its lines need to be of about one length, in whole groups."""
    groups, most = math.ceil(len(band.tiles) / band.group), max(1, COLUMNS // band.group)
    return math.ceil(groups / math.ceil(groups / most)) * band.group


def _left(column: int, group: int) -> int:
    """Where a column begins; groups stand apart where they have several tiles."""
    return MARGIN + column * (TILE + GAP) + (column // group * MARGIN if group > 1 else 0)


def _draw(sheet: Image.Image | None, width: int, title: str, legend: str, bands: Sequence[Band]) -> int:
    """Draw everything, or nothing without a sheet; returns where it ends."""
    pen = ImageDraw.Draw(sheet) if sheet else None
    room = width - 2 * MARGIN
    top = _write(pen, MARGIN, MARGIN, title, TITLE, room, bold=True)
    top = _write(pen, MARGIN, top + GAP, legend, TEXT, room, ink=PALE)
    for band in bands:
        top += MARGIN
        if pen:
            pen.line((MARGIN, top, width - MARGIN, top), fill=LINE, width=2)
        top = _write(pen, MARGIN, top + GAP, band.title, HEADING, room, bold=True)
        if band.note:
            top = _write(pen, MARGIN, top, band.note, TEXT, room, ink=PALE)
        top = _draw_tiles(sheet, top + GAP, band)
    return top + MARGIN


def _draw_tiles(sheet: Image.Image | None, top: int, band: Band) -> int:
    columns = _columns(band)
    height = TILE + WORDS_GAP + _line_height(TEXT) * max(len(tile.lines) for tile in band.tiles) + GAP
    if sheet:
        for number, tile in enumerate(band.tiles):
            _draw_tile(sheet, _left(number % columns, band.group), top + number // columns * height, tile)
    return top + math.ceil(len(band.tiles) / columns) * height


def _draw_tile(sheet: Image.Image, left: int, top: int, tile: Tile) -> None:
    pen = ImageDraw.Draw(sheet)
    if tile.image:
        with Image.open(io.BytesIO(tile.image)) as image:
            larger = TILE / max(image.size)
            size = tuple(max(1, round(side * larger)) for side in image.size)
            # Small originals are enlarged, so that all can be compared.
            shown = image.convert("RGB").resize((size[0], size[1]), Image.Resampling.BICUBIC)
        sheet.paste(shown, (left + (TILE - shown.width) // 2, top + (TILE - shown.height) // 2))
    else:
        pen.rectangle((left, top, left + TILE - 1, top + TILE - 1), outline=MISSING, width=2)
        text = f"not shown: {tile.missing or 'nothing is known of it'}"
        _write(pen, left + GAP, top + GAP, text, TEXT, TILE - 2 * GAP, ink=MISSING, most=TILE // _line_height(TEXT) - 1)
    for number, line in enumerate(tile.lines):
        text = _shortened(printable(line), TEXT, TILE)
        below = top + TILE + WORDS_GAP + number * _line_height(TEXT)
        pen.text((left, below), text, font=_font(TEXT, False), fill=INK if number == 0 else PALE)


def _write(
    pen: ImageDraw.ImageDraw | None,
    left: int,
    top: int,
    text: str,
    size: int,
    room: int,
    *,
    bold: bool = False,
    ink: str = INK,
    most: int | None = None,
) -> int:
    """Write text in as many lines as it needs, at most `most`; returns where it ends."""
    for line in _wrapped(printable(text), size, room, bold)[:most]:
        if pen:
            pen.text((left, top), line, font=_font(size, bold), fill=ink)
        top += _line_height(size)
    return top


def _wrapped(text: str, size: int, room: int, bold: bool) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _font(size, bold).getlength(longer) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return [_shortened(line, size, room, bold) for line in lines]


def _shortened(text: str, size: int, room: int, bold: bool = False) -> str:
    """Text without its middle, where there is no room for all: both ends of a key tell more."""
    font = _font(size, bold)
    if font.getlength(text) <= room:
        return text
    kept = min(len(text), room)
    while kept > 1 and font.getlength(f"{text[: kept // 2]}…{text[len(text) - (kept - kept // 2) :]}") > room:
        kept -= 1
    return f"{text[: kept // 2]}…{text[len(text) - (kept - kept // 2) :]}"


def _line_height(size: int) -> int:
    return round(size * 1.3)


@cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    # Pillow's own has no letters beyond Latin-1; matplotlib's is there, since pages have charts.
    from matplotlib import get_data_path

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(get_data_path()) / "fonts" / "ttf" / name
    # Without the engine that a machine may have or not, so that letters stand at the same places everywhere.
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
