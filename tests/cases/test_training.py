"""Very small and odd training sets (case 18)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from inputs_for_tests import Curator, encoded, picture, refused, write_folder, write_tar
from PIL import Image

SMALL = ("--arch", "test_resnet", "--image-size", 32, "--device", "cpu", "--loader-workers", 0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """`few/` of 5, `single/` of 1, `one.tar` of 12 with odd shapes among them."""
    write_folder(tmp_path / "few", 5)
    write_folder(tmp_path / "single", 1)
    odd = [
        ("dot.png", encoded(Image.new("RGB", (1, 1)), "PNG")),
        ("strip.png", encoded(Image.new("RGB", (1, 3000), "red"), "PNG")),
        ("cmyk.jpg", encoded(Image.new("CMYK", (80, 60)), "JPEG")),
        ("grey16.png", encoded(Image.fromarray(np.arange(4800, dtype=np.uint16).reshape(60, 80)), "PNG")),
    ]
    write_tar(tmp_path / "one.tar", [*((f"{number}.jpg", picture(number)) for number in range(8)), *odd])
    return tmp_path


@pytest.mark.parametrize(
    ("target", "more", "told"),
    [
        ("few", ("--steps", 2), "2 steps"),
        # Two steps of 5 and two left over.
        ("one.tar", ("--batch-size", 5, "--epochs", 1), "2 samples"),
        ("few", ("--shards", "one.tar", "--batch-size", 16, "--epochs", 2), "2 steps"),
    ],
)
def test_18_small_and_odd_sets_are_trained_on(
    curator: Curator, data: Path, target: str, more: tuple[object, ...], told: str
) -> None:
    words = [data / word if word == "one.tar" else word for word in more]
    ran = curator("train", "--target", data / target, "--out", data / "run", *SMALL, *words)
    assert ran.code == 0, ran.err
    assert told in ran.out
    assert (data / "run" / "encoder.pt").exists()


@pytest.mark.parametrize(
    ("target", "more", "told"),
    [
        ("single", ("--steps", 2), "there is 1 image to train on"),
        ("few", ("--batch-size", 1, "--steps", 2), "--batch-size 1: should be greater than or equal to 2"),
    ],
)
def test_18_what_cannot_be_contrasted_is_one_line(
    curator: Curator, data: Path, target: str, more: tuple[object, ...], told: str
) -> None:
    refused(curator("train", "--target", data / target, "--out", data / "run", *SMALL, *more), told)
