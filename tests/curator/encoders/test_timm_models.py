import pytest
import torch

from curator.encoders import weights as weights_module
from curator.encoders.spec import EncoderSpec
from curator.encoders.timm_models import load_timm, timm_preprocess
from curator.errors import InputError

timm = pytest.importorskip("timm")
HALF = (0.5, 0.5, 0.5)
CONFIG = {
    "input_size": (3, 224, 224),
    "crop_pct": 0.875,
    "crop_mode": "center",
    "interpolation": "bicubic",
    "mean": HALF,
    "std": HALF,
}


def spec(model: str) -> EncoderSpec:
    return EncoderSpec("timm", model)


@pytest.mark.parametrize(
    ("changes", "resize"),
    [
        ({}, 256),
        ({"crop_pct": 1.0}, 224),
        ({"crop_pct": 0.95}, 235),
        ({"crop_mode": "squash", "crop_pct": 1.0}, (224, 224)),
        ({"crop_mode": "squash", "crop_pct": 0.9}, (248, 248)),
    ],
)
def test_preprocessing(changes, resize):
    preprocess = timm_preprocess(CONFIG | changes)
    assert (preprocess.resize, preprocess.crop) == (resize, (224, 224))


@pytest.mark.parametrize("changes", [{"crop_mode": "border"}, {"input_size": (3, 224, 192)}, {"input_size": (1, 8, 8)}])
def test_preprocessing_that_is_not_supported(changes):
    with pytest.raises(InputError, match="not supported"):
        timm_preprocess(CONFIG | changes)


def test_the_preprocessing_is_that_of_the_tag():
    plain = load_timm(spec("vit_tiny_patch16_224.augreg_in21k"), "random").preprocess
    assert plain.mean == HALF
    assert plain.interpolation == "bicubic"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("resnet5", "unknown model .*resnet50"),
        ("resnet50.a1_in1", "unknown weights .*resnet50.a1_in1k"),
    ],
)
def test_near_names(name, told):
    with pytest.raises(InputError, match=told):
        load_timm(spec(name), None)


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit", "test_resnet"])
def test_the_head_of_a_checkpoint_is_left_out(tmp_path, name):
    torch.save(timm.create_model(name, num_classes=17).state_dict(), tmp_path / "w.pth")
    model = load_timm(spec(name), str(tmp_path / "w.pth")).model
    assert model.num_classes == 0


def test_weights_of_another_model_are_named(tmp_path):
    torch.save(timm.create_model("test_vit").state_dict(), tmp_path / "w.pth")
    with pytest.raises(
        InputError, match=r"w\.pth': its tensors do not match the model's: \d+ missing: .*; \d+ unexpected: "
    ):
        load_timm(spec("test_efficientnet"), str(tmp_path / "w.pth"))


def test_a_failed_download_says_what_to_do(monkeypatch):
    monkeypatch.setattr(weights_module, "_reachable", lambda url: False)
    monkeypatch.setenv("HF_HUB_CACHE", "/nowhere")
    with pytest.raises(InputError, match=r"the weights of timm:test_vit\.r160_in1k .*: give weights$"):
        load_timm(spec("test_vit.r160_in1k"), None)


def test_local_weights_ask_nothing_of_the_network(monkeypatch):
    monkeypatch.setattr(weights_module, "_reachable", lambda url: pytest.fail("asked"))
    load_timm(spec("test_vit"), "random")


def test_architecture_is_without_the_tag():
    assert load_timm(spec("test_vit.r160_in1k"), "random").architecture == "timm:test_vit"
