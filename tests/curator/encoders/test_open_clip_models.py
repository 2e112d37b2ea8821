import pytest
import torch

from curator.encoders import weights as weights_module
from curator.encoders.load import load_encoder
from curator.encoders.open_clip_models import load_open_clip, open_clip_preprocess
from curator.encoders.spec import EncoderSpec
from curator.errors import InputError

open_clip = pytest.importorskip("open_clip")
NAME = "ViT-S-32-alt"
CONFIG = {
    "size": (224, 224),
    "resize_mode": "shortest",
    "interpolation": "bicubic",
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
}


def spec(model: str, pretrained: str = "") -> EncoderSpec:
    return EncoderSpec("open_clip", model, pretrained)


@pytest.mark.parametrize(
    ("changes", "resize", "crop"),
    [
        ({}, 224, (224, 224)),
        ({"size": 256}, 256, (256, 256)),
        ({"resize_mode": "squash"}, (224, 224), (224, 224)),
        ({"resize_mode": "squash", "size": (224, 192)}, (224, 192), (224, 192)),
    ],
)
def test_preprocessing(changes, resize, crop):
    preprocess = open_clip_preprocess(CONFIG | changes)
    assert (preprocess.resize, preprocess.crop) == (resize, crop)


@pytest.mark.parametrize("changes", [{"resize_mode": "longest"}, {"size": (224, 192)}])
def test_preprocessing_that_is_not_supported(changes):
    with pytest.raises(InputError, match="not supported"):
        open_clip_preprocess(CONFIG | changes)


def test_only_the_image_tower_is_kept():
    encoder = load_encoder(f"open_clip:{NAME}", weights="random", device="cpu", precision="fp32")
    assert encoder.dim == 256
    assert encoder.architecture == f"open_clip:{NAME}"
    assert not any("text" in name or "token" in name for name, _ in encoder._model.named_parameters())


@pytest.fixture(scope="module")
def clip():
    torch.manual_seed(11)
    return open_clip.create_model(NAME, pretrained_text=False).eval()


@pytest.mark.parametrize("part", ["whole", "tower"])
def test_weights_of_a_file(tmp_path, clip, part):
    torch.save((clip if part == "whole" else clip.visual).state_dict(), tmp_path / "w.pt")
    backbone = load_open_clip(spec(NAME), str(tmp_path / "w.pt"))
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(backbone.model.eval()(images), clip.encode_image(images))


def test_weights_that_do_not_fit(tmp_path, clip):
    tensors = {name: value for name, value in clip.state_dict().items() if name != "visual.proj"}
    torch.save(tensors, tmp_path / "w.pt")
    with pytest.raises(InputError, match="1 missing: proj"):
        load_open_clip(spec(NAME), str(tmp_path / "w.pt"))


def test_the_tag_says_how_its_weights_want_to_see():
    backbone = load_open_clip(spec("MobileCLIP2-S0", "dfndr2b"), "random")
    assert backbone.preprocess.interpolation == "bilinear"
    assert (backbone.preprocess.mean, backbone.preprocess.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert backbone.preprocess.crop == (256, 256)


def test_weights_trained_with_quick_gelu_get_it():
    from open_clip.transformer import QuickGELU

    for tag, quick in (("openai", True), ("laion2b_s34b_b79k", False)):
        model = load_open_clip(spec("ViT-B-32", tag), "random").model
        assert any(isinstance(module, QuickGELU) for module in model.modules()) == quick


@pytest.mark.parametrize(
    ("model", "tag", "told"),
    [
        ("ViT-B-33", "openai", "unknown model .*ViT-B-32"),
        ("ViT-B-32", "", "name the weights, .*openai"),
        ("ViT-B-32", "openia", r"unknown weights \(near: openai"),
        (NAME, "", "it has none"),
    ],
)
def test_names(model, tag, told):
    with pytest.raises(InputError, match=told) as caught:
        load_open_clip(spec(model, tag), None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [spec("ViT-B-32", "openai"), spec("hf-hub:nobody/nothing")])
def test_a_failed_download_says_what_to_do(monkeypatch, name):
    monkeypatch.setattr(weights_module, "_reachable", lambda url: False)
    with pytest.raises(InputError, match=r"could not get the weights of open_clip:.*: give weights$"):
        load_open_clip(name, None)


def test_a_text_tower_that_cannot_be_built(monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("please install transformers")

    monkeypatch.setattr(open_clip, "create_model", fail)
    with pytest.raises(InputError, match=r"cannot build it .*transformers"):
        load_open_clip(spec("ViT-B-32"), "random")
