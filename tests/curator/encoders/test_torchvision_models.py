import urllib.error

import pytest
import torch
from torchvision import models

from curator.encoders.load import load_encoder
from curator.encoders.spec import EncoderSpec
from curator.encoders.torchvision_models import load_torchvision
from curator.errors import InputError
from curator.images.preprocess import Preprocess


def spec(model: str) -> EncoderSpec:
    return EncoderSpec("torchvision", model)


def test_preprocessing_of_the_default_weights():
    preprocess = load_torchvision(spec("resnet18"), "random").preprocess
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    assert preprocess == Preprocess(256, (224, 224), "bilinear", mean, std)


@pytest.mark.parametrize(("name", "dim"), [("shufflenet_v2_x0_5", 1024), ("mobilenet_v3_small", 1024)])
def test_features_before_the_last_linear_layer(name, dim):
    encoder = load_encoder(f"torchvision:{name}", weights="random", device="cpu", precision="fp32")
    assert encoder.dim == dim
    assert encoder.architecture == f"torchvision:{name}"


def test_weights_of_a_file(tmp_path):
    torch.manual_seed(3)
    whole = models.get_model("shufflenet_v2_x0_5", weights=None).eval()
    torch.save(whole.state_dict(), tmp_path / "w.pth")
    model = load_torchvision(spec("shufflenet_v2_x0_5"), str(tmp_path / "w.pth")).model.eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(whole.fc(model(images)), whole(images))


def test_weights_that_do_not_fit(tmp_path):
    torch.save({"conv.weight": torch.ones(1)}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"1 unexpected: conv\.weight"):
        load_torchvision(spec("shufflenet_v2_x0_5"), str(tmp_path / "w.pth"))


def test_near_names():
    with pytest.raises(InputError, match=r"unknown model .*resnet50"):
        load_torchvision(spec("resnet_50"), None)


def test_a_model_without_a_linear_layer():
    with pytest.raises(InputError, match="no linear layer"):
        load_torchvision(spec("squeezenet1_1"), "random")


def test_a_failed_download_says_what_to_do(monkeypatch):
    def fail(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("curator.encoders.weights._reachable", lambda url: True)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(InputError, match=r"the weights of torchvision:resnet18 .*no network.*: give weights$"):
        load_torchvision(spec("resnet18"), None)
