import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

from curator.errors import InputError
from curator.images.preprocess import Preprocess

HALF = (0.5, 0.5, 0.5)
SIMPLE = Preprocess(256, (224, 224), "bicubic", HALF, HALF)


def by_pil(preprocess: Preprocess, image: Image.Image) -> torch.Tensor:
    resize = Resize(preprocess.resize, interpolation=InterpolationMode(preprocess.interpolation))
    return Compose([resize, CenterCrop(preprocess.crop), ToTensor(), Normalize(preprocess.mean, preprocess.std)])(image)


def as_tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("resize", [256, 40, (256, 256), (60, 90)])
@pytest.mark.parametrize("size", [(96, 64), (64, 96), (41, 41), (97, 61), (512, 300)])
def test_agrees_with_pil(photo, interpolation, resize, size):
    smallest = resize if isinstance(resize, int) else min(resize)
    preprocess = Preprocess(
        resize, (min(smallest, 224),) * 2, interpolation, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    )
    image = photo.resize(size)
    ours = preprocess.normalise(preprocess.fit(as_tensor(image))[None])[0]
    difference = (ours - by_pil(preprocess, image)).abs()
    assert ours.dtype == torch.float32
    # In units of one grey level of 255, brought to the normalised scale.
    assert difference.max() <= 2.01 / 255 / 0.224
    assert difference.mean() < 0.3 / 255 / 0.224


def test_keeps_the_centre():
    image = torch.zeros((3, 10, 30), dtype=torch.uint8)
    image[0, :, :10], image[1, :, 10:20], image[2, :, 20:] = 255, 255, 255
    fitted = Preprocess(10, (10, 10), "bilinear", HALF, HALF).fit(image)
    assert (fitted[1] == 255).all()
    assert not fitted[[0, 2]].any()


def test_squash_keeps_everything():
    image = torch.zeros((3, 10, 30), dtype=torch.uint8)
    image[0, :, :15], image[2, :, 15:] = 255, 255
    fitted = Preprocess((20, 20), (20, 20), "bilinear", HALF, HALF).fit(image)
    assert (fitted[0, :, :8] > 250).all()
    assert (fitted[2, :, 12:] > 250).all()


def test_a_crop_larger_than_the_image_is_padded_as_pil_does():
    image = torch.full((3, 8, 8), 200, dtype=torch.uint8)
    fitted = Preprocess(8, (12, 12), "bilinear", HALF, HALF).fit(image)
    assert fitted.shape == (3, 12, 12)
    assert (fitted[:, 2:10, 2:10] == 200).all()
    assert not fitted[:, :2].any()


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (3, 2)])
def test_tiny_images_grow(size):
    assert SIMPLE.fit(torch.zeros((3, *size), dtype=torch.uint8)).shape == (3, 224, 224)


@pytest.mark.parametrize("shape", [(3, 2, 20_000), (3, 20_000, 2)])
def test_a_long_strip_stays_small(monkeypatch, shape):
    from torchvision.transforms.v2 import functional

    seen = []
    resize = functional.resize
    monkeypatch.setattr(functional, "resize", lambda image, *a, **k: seen.append(image.shape) or resize(image, *a, **k))
    strip = torch.zeros(shape, dtype=torch.uint8)
    strip[:, shape[1] // 2 - 1 : shape[1] // 2 + 1, shape[2] // 2 - 1 : shape[2] // 2 + 1] = 255
    fitted = SIMPLE.fit(strip)
    assert fitted.shape == (3, 224, 224)
    assert max(seen[0]) == 40
    # The middle of the strip is white and is what the crop shows.
    assert (fitted > 150).all()


def test_normalise_is_of_the_whole_batch():
    preprocess = Preprocess(4, (4, 4), "bilinear", (0.0, 0.5, 1.0), (1.0, 0.5, 0.25))
    batch = torch.stack([torch.zeros(3, 4, 4), torch.full((3, 4, 4), 255)]).to(torch.uint8)
    out = preprocess.normalise(batch)
    assert out.shape == (2, 3, 4, 4)
    assert out[:, :, 0, 0].tolist() == [[0.0, -1.0, -4.0], [1.0, 1.0, 0.0]]


def test_json_and_back():
    for preprocess in (SIMPLE, Preprocess((8, 9), (8, 9), "bilinear", (0.1, 0.2, 0.3), HALF)):
        assert Preprocess.from_json(preprocess.to_json()) == preprocess


def test_identity_is_stable_and_of_every_field():
    assert SIMPLE.identity == (
        '{"crop":[224,224],"interpolation":"bicubic","mean":[0.5,0.5,0.5],"resize":256,"std":[0.5,0.5,0.5]}'
    )
    assert Preprocess(256, [224, 224], "bicubic", np.full(3, 0.5), torch.full((3,), 0.5)).identity == SIMPLE.identity
    others = {
        "resize": 255,
        "crop": (224, 223),
        "interpolation": "bilinear",
        "mean": (0.5, 0.5, 0.4),
        "std": (0.5, 0.5, 0.4),
    }
    assert set(others) == {field.name for field in dataclasses.fields(Preprocess)}
    for name, value in others.items():
        assert dataclasses.replace(SIMPLE, **{name: value}).identity != SIMPLE.identity


@pytest.mark.parametrize("interpolation", ["lanczos", "nearest", "random"])
def test_other_interpolations_are_refused(interpolation):
    with pytest.raises(InputError, match=interpolation):
        Preprocess(256, (224, 224), interpolation, HALF, HALF)
