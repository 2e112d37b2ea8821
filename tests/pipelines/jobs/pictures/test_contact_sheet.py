"""Contact sheets: that images stand where they should, that nothing missing looks like an image, and the same bytes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curator_pipelines.jobs.pictures.contact_sheet import GAP, MARGIN, TILE, Band, Tile, draw_sheet, write_sheet

COLOURS = [(200, 30, 30), (30, 160, 30), (30, 30, 200), (200, 160, 0)]


def tile(number: int, *lines: str) -> Tile:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), COLOURS[number % len(COLOURS)]).save(buffer, "JPEG", quality=95)
    return Tile(buffer.getvalue(), lines or (f"0.{number:04d}", f"key {number}"))


def colour_order(sheet: Image.Image) -> list[int]:
    """The colours of the tiles, line by line: what stands at the centre of each run of coloured pixels."""
    pixels = np.asarray(sheet, np.int16)
    colours = np.zeros(pixels.shape[:2], np.int16)
    for number, colour in enumerate(COLOURS, 1):
        colours[np.abs(pixels - np.array(colour, np.int16)).max(axis=-1) < 12] = number
    # Letters have no such colours, so a line of tiles is a run of rows that have some.
    coloured = (colours > 0).sum(axis=1) > TILE // 2
    tops = np.flatnonzero(np.diff(coloured.astype(np.int8)) == 1) + TILE * 48 // 128
    order: list[int] = []
    for row in colours[tops]:
        starts = np.flatnonzero((row[1:] != row[:-1]) & (row[1:] > 0)) + 1
        order += [int(row[start + 5]) - 1 for start in starts]
    return order


def test_images_stand_in_their_order_and_small_ones_are_enlarged() -> None:
    sheet = draw_sheet("A title", "A legend", [Band("A heading", [tile(number) for number in range(4)])])
    assert colour_order(sheet) == [0, 1, 2, 3]
    # At least five columns wide, for the title's sake.
    assert sheet.width == 2 * MARGIN + 5 * (TILE + GAP) - GAP


@pytest.mark.parametrize(("tiles", "columns"), [(6, 6), (12, 12), (13, 7), (24, 12), (96, 12)])
def test_as_many_columns_as_are_needed(tiles: int, columns: int) -> None:
    sheet = draw_sheet("A title", "", [Band("A heading", [tile(number) for number in range(tiles)])])
    assert sheet.width == 2 * MARGIN + columns * (TILE + GAP) - GAP


def test_pairs_stay_together_and_stand_apart() -> None:
    sheet = draw_sheet("A title", "", [Band("Pairs", [tile(number % 2) for number in range(26)], group=2)])
    # 13 pairs are three lines of five, not two of six and one of one.
    assert colour_order(sheet) == [0, 1] * 13
    assert sheet.width == 2 * MARGIN + 10 * (TILE + GAP) - GAP + 4 * MARGIN


def test_what_cannot_be_shown_says_so_and_is_no_grey_square() -> None:
    there, gone = Band("Band", [tile(0)]), Band("Band", [Tile(None, ("0.1", "key"), "its source is gone")])
    assert not colour_order(draw_sheet("A title", "", [gone]))
    pixels = np.asarray(draw_sheet("A title", "", [there, gone]), np.int16)
    red = (pixels[..., 0] > 120) & (pixels[..., 1:].max(axis=-1) < 60) & (pixels[..., 0] < 190)
    # The frame of the square, and the words in it.
    assert red.sum() > 4 * TILE + 100
    inside = pixels[np.flatnonzero(red.any(axis=1))[0] :, MARGIN + 3 : MARGIN + TILE - 3]
    assert (inside[:TILE].min(axis=-1) > 250).mean() > 0.5


def test_any_key_can_be_written() -> None:
    keys = ["ключ", "鍵", "a\x1b[2Jb\nc", "x" * 500, "", "<script>"]
    long = "A title that is much longer than the sheet is wide, and says so in many words " * 3
    sheet = draw_sheet(long, long, [Band(long, [tile(0, "0.5", key) for key in keys], long)])
    narrow = draw_sheet("A title", "", [Band("Band", [tile(0, "0.5", "x") for _ in keys])])
    assert sheet.width == narrow.width and sheet.height > narrow.height


@pytest.mark.parametrize(("name", "kind"), [("a.jpg", "JPEG"), ("a.JPEG", "JPEG"), ("a.png", "PNG"), ("a", "PNG")])
def test_the_name_says_the_format_and_bytes_are_the_same_each_time(name: str, kind: str, tmp_path: Path) -> None:
    bands = [Band("A heading", [tile(number) for number in range(5)], "a note")]
    for folder in ("first", "second"):
        assert write_sheet(str(tmp_path / folder / name), "A title", "A legend", bands)
    assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    with Image.open(tmp_path / "first" / name) as sheet:
        assert sheet.format == kind


def test_without_a_single_image_there_is_no_sheet(tmp_path: Path) -> None:
    assert not write_sheet(
        str(tmp_path / "a.png"), "A title", "", [Band("Band", [Tile(None, (), "gone")]), Band("", [])]
    )
    assert not (tmp_path / "a.png").exists()
