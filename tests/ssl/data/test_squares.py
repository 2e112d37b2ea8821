from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from training_for_tests import picture, write_tar

from curator.errors import Reason
from curator_ssl.data import squares
from curator_ssl.data.sample_finder import find_samples
from curator_ssl.data.samples import Samples
from curator_ssl.data.squares import Squares, _square


@pytest.fixture
def samples(tmp_path: Path) -> Samples:
    images = {f"{index:02d}.png": picture(index, 30 + index) for index in range(7)}
    images["03.png"] = b"\x89PNG\r\n\x1a\n and nothing more"
    write_tar(tmp_path / "a.tar", images)
    return find_samples([str(tmp_path / "a.tar")], [], str(tmp_path / "out")).samples


def test_kept_or_decoded_anew_they_are_the_same(samples: Samples) -> None:
    numbers = np.array([5, 3, 0, 5, 6])
    anew = Squares(samples, 24).read(numbers)
    kept = Squares(samples, 24)
    assert kept.keep(threads=2)
    (Path(samples.urls[0])).unlink()

    again = kept.read(numbers)

    assert again[0].equal(anew[0]) and again[1].equal(anew[1])
    assert {place: error.reason for place, error in again[2].items()} == {1: Reason.DECODE_ERROR}
    assert anew[2].keys() == again[2].keys()


def test_what_does_not_fit_is_not_kept(samples: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(squares, "KEPT_BYTES", 7 * 3 * 24 * 24 - 1)
    assert not Squares(samples, 24).keep(threads=1)


def test_shapes_and_proportions() -> None:
    square, aspect = _square(torch.zeros(3, 10, 30, dtype=torch.uint8), 16)
    assert square.shape == (3, 16, 16) and aspect == 3
    # Of a strip the middle is taken, which does not explode.
    square, aspect = _square(torch.zeros(3, 1, 9000, dtype=torch.uint8), 16)
    assert square.shape == (3, 16, 16) and aspect == 20
