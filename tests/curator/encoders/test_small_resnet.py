from __future__ import annotations

from pathlib import Path

import pytest
import torch

from curator.encoders import build_backbone, load_encoder, save_checkpoint
from curator.encoders.encoder import hash_tensors
from curator.errors import InputError


def test_a_checkpoint_of_it_is_built_again(tmp_path: Path) -> None:
    backbone = build_backbone("small_resnet", image_size=48, seed=3)
    url = str(tmp_path / "encoder.pt")
    state = backbone.model.state_dict()
    save_checkpoint(url, architecture="small_resnet", preprocess=backbone.preprocess, state_dict=state, meta={})

    encoder = load_encoder(f"checkpoint:{url}", device="cpu", precision="fp32")

    assert (encoder.dim, encoder.input_shape[2:], encoder.architecture) == (192, (48, 48), "small_resnet")
    assert encoder.tensors_hash == hash_tensors(backbone.model)
    # Its norms were folded, and the features are the same.
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in encoder._model.modules())
    pixels = torch.randint(0, 256, encoder.input_shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = build_backbone("small_resnet", 48, 3).model.eval()(encoder.preprocess.normalise(pixels))
    unit = torch.nn.functional.normalize(features)
    torch.testing.assert_close(torch.from_numpy(encoder.encode(pixels)), unit, atol=1e-4, rtol=1e-3)


def test_its_twin_has_the_same_tensors_and_takes_the_largest_value_of_each_channel() -> None:
    mean, largest = (build_backbone(name, 32, 0) for name in ("small_resnet", "small_resnet_max"))
    assert (mean.architecture, largest.architecture) == ("small_resnet", "small_resnet_max")
    assert hash_tensors(mean.model) == hash_tensors(largest.model)
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = mean.model.eval().forward_features(pixels)
        assert maps.shape == (2, 192, 4, 4)
        torch.testing.assert_close(mean.model(pixels), maps.mean((2, 3)))
        torch.testing.assert_close(largest.model.eval()(pixels), maps.amax((2, 3)))


def test_its_random_weights_follow_from_the_seed() -> None:
    hashes = [hash_tensors(build_backbone("small_resnet", seed=seed).model) for seed in (0, 0, 1)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_it_has_no_weights_of_its_own() -> None:
    with pytest.raises(InputError, match="there are no weights of it: give weights='random'"):
        load_encoder("small_resnet")
    with pytest.raises(InputError, match="write just small_resnet"):
        load_encoder("small_resnet:18")
