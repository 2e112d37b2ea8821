"""The fuzzers' own promises: what a seed gives is always the same, and a wrong part is seen."""

from __future__ import annotations

import hashlib
import io
import random

import numpy as np
import pytest
from PIL import Image

from benchmarks.fuzz import Shard, part_faults
from benchmarks.fuzz_images import Encoded, damage
from benchmarks.fuzz_tars import damaged_tar, sound_tar
from curator.sources import read_samples
from curator.types import RawSample


def image(name: str, ending: str) -> Encoded:
    buffer = io.BytesIO()
    Image.effect_noise((20, 30), 80).save(buffer, name)
    return Encoded(ending, buffer.getvalue())


IMAGES = [image(name, ending) for name, ending in (("JPEG", "jpg"), ("PNG", "png"), ("GIF", "gif"), ("WEBP", "webp"))]


def test_a_seed_gives_the_same_damage():
    for seed in range(200):
        first, second = (damage(IMAGES[seed % 4], IMAGES, random.Random(seed)) for _ in range(2))
        assert first == second
        first_tar, second_tar = (damaged_tar(IMAGES, random.Random(seed)) for _ in range(2))
        assert first_tar == second_tar


def test_a_sound_tar_has_as_many_samples_as_it_says():
    for seed in range(200):
        data, samples = sound_tar(IMAGES, random.Random(seed))
        items = list(read_samples(io.BytesIO(data), "x.tar"))
        assert len(items) == samples
        assert all(isinstance(item, RawSample) for item in items)


SHARD = Shard(b"..picture..", samples=2, embedded=1)
ROW = {"image_path": "a", "offset": 2, "size": 7, "sha256": hashlib.sha256(b"picture").hexdigest()}
MARK = {"seen": 2, "embedded": 1, "ledger": [["x", "b", 0, "decode", "decode_error", "cut"]]}
UNIT = np.array([[1, 0]], np.float16)


def test_a_good_part_has_no_faults():
    assert not list(part_faults(SHARD, MARK, UNIT, [ROW]))


@pytest.mark.parametrize(
    ("shard", "mark", "array", "rows"),
    [
        (SHARD, MARK | {"ledger": []}, UNIT, [ROW]),
        (SHARD, MARK, np.repeat(UNIT, 2, axis=0), [ROW]),
        (SHARD, MARK, 2 * UNIT, [ROW]),
        (SHARD, MARK, UNIT * np.float16("nan"), [ROW]),
        (SHARD, MARK, UNIT, [ROW | {"offset": 3}]),
        (SHARD, MARK | {"embedded": 2, "ledger": []}, np.repeat(UNIT, 2, axis=0), [ROW, ROW]),
        (Shard(SHARD.data, samples=3), MARK, UNIT, [ROW]),
        (Shard(SHARD.data, embedded=2), MARK, UNIT, [ROW]),
    ],
)
def test_a_wrong_part_is_seen(shard, mark, array, rows):
    assert list(part_faults(shard, mark, array, rows))
