import math
from dataclasses import replace

import pytest

from curator.encoders.check_preprocess import MIN_AGREEMENT, agreements, check_agreement
from curator.encoders.load import load_encoder


def test_lite0_agrees_on_photos(lite0, photos):
    assert check_agreement(lite0, photos) >= 0.999


@pytest.mark.shared_data
def test_lite0_agrees_on_a_pool(lite0, pool_images):
    assert len(agreements(lite0, pool_images)) == 32
    assert check_agreement(lite0, pool_images) >= 0.999


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
    assert check_agreement(encoder, photos) >= MIN_AGREEMENT


@pytest.mark.parametrize(
    "wrong",
    [{"interpolation": "bilinear"}, {"resize": 248}, {"resize": (256, 256)}, {"mean": (0.485, 0.456, 0.406)}],
)
def test_a_wrong_preprocessing_is_noticed(lite0, photos, monkeypatch, wrong):
    monkeypatch.setattr(lite0, "preprocess", replace(lite0.preprocess, **wrong))
    assert check_agreement(lite0, photos) < MIN_AGREEMENT


def test_files_that_are_no_images_are_passed_over(tiny, photos):
    assert len(agreements(tiny, [b"no image", photos[0]])) == 1
    assert math.isnan(check_agreement(tiny, [b"no image"]))


def test_more_images_than_a_batch(tiny, photos):
    assert len(agreements(tiny, photos[:1] * 40)) == 32
