import math
from dataclasses import replace

import pytest

from curator.encoders.check_preprocess import MIN_COSINE, lowest_cosine, preprocess_cosines
from curator.encoders.load import load_encoder


def test_lite0_agrees_on_photos(lite0, photos):
    assert lowest_cosine(lite0, photos) >= 0.999


@pytest.mark.shared_data
def test_lite0_agrees_on_a_pool(lite0, pool_images):
    assert len(preprocess_cosines(lite0, pool_images)) == 32
    assert lowest_cosine(lite0, pool_images) >= 0.999


@pytest.mark.parametrize(
    "spec",
    [
        "timm:test_vit",
        "timm:test_convnext",
        "torchvision:shufflenet_v2_x0_5",
        "open_clip:ViT-S-32-alt",
    ],
)
def test_other_families_agree(spec, photos):
    encoder = load_encoder(spec, weights="random", device="cpu", precision="fp32")
    assert lowest_cosine(encoder, photos) >= MIN_COSINE


@pytest.mark.parametrize(
    "wrong",
    [{"interpolation": "bilinear"}, {"resize": 248}, {"resize": (256, 256)}, {"mean": (0.485, 0.456, 0.406)}],
)
def test_a_wrong_preprocessing_is_noticed(lite0, photos, monkeypatch, wrong):
    monkeypatch.setattr(lite0, "preprocess", replace(lite0.preprocess, **wrong))
    assert lowest_cosine(lite0, photos) < MIN_COSINE


def test_files_that_are_no_images_are_passed_over(tiny, photos):
    assert len(preprocess_cosines(tiny, [b"no image", photos[0]])) == 1
    assert math.isnan(lowest_cosine(tiny, [b"no image"]))


def test_more_images_than_a_batch(tiny, photos):
    assert len(preprocess_cosines(tiny, photos[:1] * 40)) == 32
