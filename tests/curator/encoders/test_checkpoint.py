import numpy as np
import pytest
import torch

from curator.encoders.checkpoint import build_backbone, save_checkpoint
from curator.encoders.load import load_encoder
from curator.errors import InputError

ON = {"device": "cpu", "precision": "fp32"}


def trained(architecture: str, size: int):
    """A backbone whose weights are not those that a fresh build would have."""
    backbone = build_backbone(architecture, size)
    torch.manual_seed(11)
    with torch.no_grad():
        for parameter in backbone.model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    return backbone


def save(url, backbone, **changes):
    values = {
        "architecture": backbone.architecture,
        "preprocess": backbone.preprocess,
        "state_dict": backbone.model.state_dict(),
        "meta": {"method": "simclr", "steps": 7, "losses": [1.5, 0.5]},
    }
    save_checkpoint(str(url), **(values | changes))


@pytest.mark.parametrize(
    ("architecture", "size"),
    [("timm:test_resnet", 64), ("timm:test_vit", 64), ("torchvision:shufflenet_v2_x0_5", 96)],
)
def test_what_is_saved_is_what_is_loaded(tmp_path, architecture, size):
    backbone = trained(architecture, size)
    save(tmp_path / "encoder.pt", backbone)
    encoder = load_encoder(f"checkpoint:{tmp_path}/encoder.pt", **ON)
    assert encoder.architecture == architecture
    assert encoder.preprocess == backbone.preprocess
    assert encoder.input_shape == (32, 3, size, size)
    pixels = torch.randint(0, 256, encoder.input_shape, dtype=torch.uint8)
    with torch.inference_mode():
        expected = backbone.model.eval()(backbone.preprocess.normalise(pixels))
    expected = torch.nn.functional.normalize(expected).numpy()
    np.testing.assert_allclose(encoder.encode(pixels), expected, atol=1e-4)


def test_the_identity_is_the_tensors_not_the_file(tmp_path):
    backbone = trained("timm:test_resnet", 64)
    save(tmp_path / "a.pt", backbone)
    save(tmp_path / "b.pt", backbone, meta={"other": True})
    first, second = (load_encoder(f"checkpoint:{tmp_path}/{name}.pt", **ON) for name in "ab")
    fresh = load_encoder("timm:test_resnet", weights="random", **ON)
    assert first.tensors_hash == second.tensors_hash != fresh.tensors_hash


def test_object_stores(s3_bucket):
    save(f"{s3_bucket}/run/encoder.pt", trained("timm:test_resnet", 64))
    assert load_encoder(f"checkpoint:{s3_bucket}/run/encoder.pt", **ON).dim == 96
    with pytest.raises(InputError, match="no such file"):
        load_encoder(f"checkpoint:{s3_bucket}/run/other.pt", **ON)


def test_anyone_reads_it_without_us(tmp_path):
    save(tmp_path / "encoder.pt", trained("timm:test_resnet", 64))
    content = torch.load(tmp_path / "encoder.pt", weights_only=True)
    assert (content["format"], content["version"]) == ("curator.encoder", 1)
    assert content["meta"] == {"method": "simclr", "steps": 7, "losses": [1.5, 0.5]}
    assert "layer1.0.conv1.weight" in content["state_dict"]


def test_an_unknown_version_is_refused(tmp_path):
    path = tmp_path / "encoder.pt"
    save(path, trained("timm:test_resnet", 64))
    torch.save(torch.load(path, weights_only=True) | {"version": 2}, path)
    with pytest.raises(InputError, match="version 2 of its format, known is 1"):
        load_encoder(f"checkpoint:{path}", **ON)


def test_weights_beside_a_checkpoint_are_refused(tmp_path):
    with pytest.raises(InputError, match="leave out --weights"):
        load_encoder(f"checkpoint:{tmp_path}/encoder.pt", weights="random", **ON)


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "encoder.pt"
    backbone = trained("timm:test_resnet", 64)
    save(path, backbone)
    before = path.read_bytes()
    with pytest.raises(AttributeError, match="pickle"):
        save(path, backbone, meta={"plain": lambda: None})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["encoder.pt"]


@pytest.mark.parametrize("changes", [{"architecture": "open_clip:ViT-B-32"}, {"state_dict": {}}])
def test_what_cannot_be_loaded_is_not_saved(tmp_path, changes):
    with pytest.raises(ValueError, match=r"architecture|no tensors"):
        save(tmp_path / "encoder.pt", build_backbone("timm:test_resnet", 64), **changes)
