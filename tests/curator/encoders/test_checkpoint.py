import argparse
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torchvision import models

from curator.encoders.checkpoint import _infer as infer, build_backbone, copy_at_size, load_checkpoint, save_checkpoint
from curator.encoders.load import load_encoder
from curator.encoders.spec import EncoderSpec
from curator.encoders.weights import WeightsOrigin
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
    with pytest.raises(InputError, match="leave weights away"):
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


def wrap_moco(tensors):
    fake = {"module.queue": torch.ones(2), "module.encoder_q.fc.2.weight": torch.ones(2)}
    both = {f"module.encoder_{q}.{name}": value + (q == "k") for q in "kq" for name, value in tensors.items()}
    return {"epoch": 3, "arch": "resnet", "state_dict": fake | both, "optimizer": {"state": {}}}


def wrap_swav(tensors):
    beside = {"module.projection_head.0.weight": torch.ones(2), "module.prototypes.weight": torch.ones(2)}
    return {f"module.{name}": value for name, value in tensors.items()} | beside


def wrap_dino(tensors):
    teacher = {f"backbone.{name}": value for name, value in tensors.items()} | {"head.mlp.0.weight": torch.ones(2)}
    student = {f"module.{name}": value + 1 for name, value in teacher.items()}
    return {"student": student, "teacher": teacher, "args": argparse.Namespace(lr=0.1), "dino_loss": {}}


def wrap_mae(tensors):
    return {"model": tensors | {"mask_token": torch.ones(2), "decoder_blocks.0.norm.bias": torch.ones(2)}}


def wrap_lightly(tensors):
    children = {name: str(number) for number, (name, _) in enumerate(models.resnet18().named_children())}
    numbered = {".".join([children[name.split(".")[0]], *name.split(".")[1:]]): v for name, v in tensors.items()}
    return {"state_dict": {f"backbone.{name}": value for name, value in numbered.items() if name[0] != "9"}}


def plain(tensors):
    return tensors


@pytest.fixture(scope="module")
def foreign():
    """Whole models of the libraries, classifier and all."""
    torch.manual_seed(5)
    return {
        "torchvision:resnet18": models.resnet18(weights=None).state_dict(),
        "timm:vit_tiny_patch16_224": timm.create_model("vit_tiny_patch16_224").state_dict(),
    }


@pytest.mark.parametrize(
    ("wrap", "architecture"),
    [
        (plain, "torchvision:resnet18"),
        (plain, "timm:vit_tiny_patch16_224"),
        (wrap_moco, "torchvision:resnet18"),
        (wrap_swav, "torchvision:resnet18"),
        (wrap_lightly, "torchvision:resnet18"),
        (wrap_dino, "timm:vit_tiny_patch16_224"),
        (wrap_mae, "timm:vit_tiny_patch16_224"),
    ],
)
def test_files_of_other_repositories(tmp_path, foreign, wrap, architecture):
    tensors = foreign[architecture]
    torch.save(wrap(tensors), tmp_path / "w.pth")
    backbone = load_checkpoint(EncoderSpec("checkpoint", f"{tmp_path}/w.pth"), None)
    assert backbone.architecture == architecture
    for name, value in backbone.model.state_dict().items():
        assert torch.equal(value, tensors[name]), name


def test_a_named_architecture_is_taken(tmp_path, foreign):
    torch.save(foreign["torchvision:resnet18"], tmp_path / "w.pth")
    encoder = load_encoder(f"checkpoint:{tmp_path}/w.pth@timm:resnet18", **ON)
    assert (encoder.architecture, encoder.dim) == ("timm:resnet18", 512)
    with pytest.raises(InputError, match=r"do not match the model's: \d+ missing: .*; \d+ of another"):
        load_encoder(f"checkpoint:{tmp_path}/w.pth@timm:resnet50", **ON)


def test_a_file_that_fits_nothing_says_what_is_nearest(tmp_path, foreign):
    tensors = dict(foreign["torchvision:resnet18"])
    del tensors["layer4.1.bn2.bias"]
    tensors["layer4.1.extra.weight"] = torch.ones(3)
    torch.save(tensors, tmp_path / "w.pth")
    told = (
        r"w\.pth': its tensors match none of the usual .* \(nearest is torchvision:resnet18, with 1 missing: "
        r"layer4\.1\.bn2\.bias; 1 unexpected: layer4\.1\.extra\.weight\): name .* as in checkpoint:.*@timm:resnet18$"
    )
    with pytest.raises(InputError, match=told):
        load_encoder(f"checkpoint:{tmp_path}/w.pth", **ON)


def test_our_own_file_names_its_architecture(tmp_path):
    save(tmp_path / "encoder.pt", build_backbone("timm:test_resnet", 64))
    with pytest.raises(InputError, match="leave @timm:resnet18 away"):
        load_encoder(f"checkpoint:{tmp_path}/encoder.pt@timm:resnet18", **ON)


@pytest.mark.parametrize("architecture", [f"torchvision:resnet{n}" for n in (34, 101)] + ["timm:vit_small_patch8_224"])
def test_architectures_that_hold_one_another_are_told_apart(architecture):
    """All names of ResNet-18 are in ResNet-34, with the same shapes."""
    with torch.device("meta"):
        tensors = build_backbone(architecture).model.state_dict()
    assert infer(tensors, WeightsOrigin(None, "it")) == architecture


def test_a_copy_is_fed_images_of_another_size(tmp_path):
    save(tmp_path / "encoder.pt", trained("timm:test_resnet", 64))
    copy_at_size(f"{tmp_path}/encoder.pt", f"{tmp_path}/larger.pt", 96)
    first, larger = (load_encoder(f"checkpoint:{tmp_path}/{name}.pt", **ON) for name in ("encoder", "larger"))
    assert larger.input_shape == (32, 3, 96, 96) and larger.tensors_hash == first.tensors_hash


def test_only_our_own_files_are_copied(tmp_path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "foreign.pt")
    with pytest.raises(InputError, match=r"foreign\.pt: it is not an encoder that"):
        copy_at_size(f"{tmp_path}/foreign.pt", f"{tmp_path}/copy.pt", 96)


def test_safetensors_takes_its_tensors(tmp_path: Path) -> None:
    """Training leaves convolutions in channels_last, which safetensors refuses."""
    safetensors = pytest.importorskip("safetensors.torch")
    backbone = build_backbone("small_resnet", 32)
    model = backbone.model.to(memory_format=torch.channels_last)
    tensors = dict(model.state_dict())
    with pytest.raises(ValueError, match="non contiguous"):
        safetensors.save(tensors)
    url = str(tmp_path / "encoder.pt")
    save_checkpoint(url, architecture="small_resnet", preprocess=backbone.preprocess, state_dict=tensors, meta={})
    saved = torch.load(url, weights_only=True)["state_dict"]
    safetensors.save_file(saved, tmp_path / "encoder.safetensors")
    assert all(torch.equal(saved[name], tensor) for name, tensor in tensors.items())
