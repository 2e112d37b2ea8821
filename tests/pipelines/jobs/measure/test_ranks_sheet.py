"""The contact sheet of `curator measure`: the ends of each encoder's ranks, each image where its rank belongs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobs_for_tests import picture
from PIL import Image

from curator_pipelines.jobs.measure import ranks_sheet
from curator_pipelines.jobs.measure.encoding import Encoding
from curator_pipelines.jobs.measure.ranks import Measured
from curator_pipelines.jobs.measure.ranks_sheet import write_ranks_sheet
from curator_pipelines.jobs.measure.sample import Candidate
from curator_pipelines.jobs.pictures import Original
from curator_pipelines.run.progress import Reporter


def measured(folder: Path, name: str, ranks: list[float]) -> Measured:
    """Image `n.png` has the n-th rank."""
    for number in range(len(ranks)):
        (folder / f"{number}.png").write_bytes(picture(number, "PNG"))
    keys = [f"{number}.png" for number in range(len(ranks))]
    return Measured(
        Candidate(name, Encoding(None, {}, 2, "cpu", "none", name)),
        tuple(("", str(folder), key) for key in keys),
        np.array(ranks),
        tuple(Original("folder", str(folder), key) for key in keys),
        pool=10,
        bad=0,
        seconds=1.0,
    )


def test_the_best_and_the_worst_of_each_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(ranks_sheet, "write_sheet", lambda *arguments: drawn.append(arguments) or True)
    first = measured(tmp_path, "first", [0.3, 0.1, 0.9, 0.5, 0.1, 0.7, 0.2])
    second = measured(tmp_path, "second", [float(number) / 30 for number in range(30)])
    assert write_ranks_sheet("sheet.jpg", [first, second], Reporter(quiet=True))
    _, _, _, bands = drawn[0]
    assert [band.title for band in bands] == [
        "first finds best",
        "first finds worst",
        "second finds best",
        "second finds worst",
    ]
    assert [tile.lines for tile in bands[0].tiles] == [
        ["10.0%", "1.png"],
        ["10.0%", "4.png"],
        ["20.0%", "6.png"],
        ["30.0%", "0.png"],
    ]
    assert [tile.lines[1] for tile in bands[1].tiles] == ["2.png", "5.png", "3.png"]
    assert [tile.lines[1] for tile in bands[2].tiles] == [f"{number}.png" for number in range(12)]
    assert [tile.lines[1] for tile in bands[3].tiles] == [f"{number}.png" for number in range(29, 17, -1)]
    for tile in bands[1].tiles:
        expected = Image.open(tmp_path / tile.lines[1]).convert("RGB")
        expected.thumbnail((192, 192))
        shown = np.asarray(Image.open(io.BytesIO(tile.image)), np.float32)
        assert np.abs(shown - np.asarray(expected, np.float32)).mean() < 12


def test_images_that_are_gone_are_told(tmp_path: Path) -> None:
    encoder = measured(tmp_path, "first", [0.3, 0.1, 0.9])
    (tmp_path / "1.png").unlink()
    reporter = Reporter(quiet=True)
    assert write_ranks_sheet(str(tmp_path / "sheet.jpg"), [encoder], reporter)
    assert reporter.warnings == ["contact sheet: 1 pictures are not shown: its source is not there any more"]
    for number in (0, 2):
        (tmp_path / f"{number}.png").unlink()
    assert not write_ranks_sheet(str(tmp_path / "none.jpg"), [encoder], reporter)
    assert not (tmp_path / "none.jpg").exists()
