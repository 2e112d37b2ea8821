import subprocess
import sys

import pytest

from curator.encoders.spec import EncoderSpec, near_names, parse_spec
from curator.errors import InputError


@pytest.mark.parametrize(
    ("spec", "parsed"),
    [
        ("lite0", EncoderSpec("lite0")),
        ("timm:resnet50.a1_in1k", EncoderSpec("timm", "resnet50.a1_in1k")),
        ("timm:hf-hub:org/repo", EncoderSpec("timm", "hf-hub:org/repo")),
        ("torchvision:resnet50", EncoderSpec("torchvision", "resnet50")),
        ("open_clip:ViT-B-32/openai", EncoderSpec("open_clip", "ViT-B-32", "openai")),
        ("open_clip:ViT-B-32", EncoderSpec("open_clip", "ViT-B-32")),
        ("open_clip:hf-hub:org/repo", EncoderSpec("open_clip", "hf-hub:org/repo")),
        ("checkpoint:s3://b/run/encoder.pt", EncoderSpec("checkpoint", "s3://b/run/encoder.pt")),
    ],
)
def test_specs(spec, parsed):
    assert parse_spec(spec) == parsed


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("warmup", "only `select` and `measure` train one"),
        ("lite", "near: lite0"),
        ("openclip:ViT-B-32/openai", "near: open_clip"),
        ("lite0:big", "write just lite0"),
        ("timm:", "model is missing"),
        ("timm", "model is missing"),
        ("checkpoint:", "file is missing"),
        ("", "there is no such encoder"),
    ],
)
def test_what_is_wrong_is_said_on_one_line(spec, told):
    with pytest.raises(InputError, match=told) as caught:
        parse_spec(spec)
    assert "\n" not in str(caught.value)


def test_near_names():
    assert near_names("RESNET5", ["resnet50", "vit"]) == " (near: resnet50)"
    assert near_names("zzz", ["resnet50"]) == ""


def test_a_wrong_name_is_refused_before_torch_is_loaded():
    code = """
import sys
from curator.encoders.load import load_encoder
from curator.errors import InputError
try:
    load_encoder("lite")
except InputError:
    assert "torch" not in sys.modules
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True)
