"""Weights as DINOv2's own training saves them, loaded into models of timm."""

import pytest
import timm
import torch
from timm.layers import resample_abs_pos_embed

from curator.encoders.adapt_tensors import adapt_tensors, without_chunks, without_wrappers
from curator.encoders.checkpoint import load_checkpoint
from curator.encoders.match_state_dict import load_matching
from curator.encoders.spec import EncoderSpec
from curator.encoders.weights import WeightsOrigin
from curator.errors import InputError

ORIGIN = WeightsOrigin(None, "it")


def vit(**options):
    """A very small vision transformer (160 px, patches of 16, four blocks) whose every tensor is drawn."""
    model = timm.create_model("test_vit", num_classes=0, **options).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in model.state_dict().values():
            value.copy_(torch.randn(value.shape, generator=generator) * 0.3)
    return model


def chunked(tensors, size=3):
    """Names as FSDP's chunks of blocks have them."""
    named = {}
    for name, value in tensors.items():
        if name.startswith("blocks."):
            _, number, rest = name.split(".", 2)
            name = f"blocks.{int(number) // size}.{number}.{rest}"
        named[name] = value
    return named


def teacher(tensors):
    """A teacher_checkpoint.pth of DINOv2's training."""
    backbone = {f"backbone.{name}": value for name, value in tensors.items()}
    return {"teacher": backbone | {"backbone.mask_token": torch.zeros(1, 8), "dino_head.mlp.0.weight": torch.zeros(2)}}


IMAGES = torch.linspace(-1, 1, 2 * 3 * 160 * 160).reshape(2, 3, 160, 160)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_layer_scale_is_folded_into_a_model_that_has_none(dtype):
    source, target = vit(init_values=0.5), vit()
    tensors = {name: value.to(dtype) for name, value in source.state_dict().items()}
    notes = load_matching(target, tensors, ORIGIN)
    assert len(notes) == 1 and "LayerScale" in notes[0]
    with torch.inference_mode():
        expected, seen = source(IMAGES), target(IMAGES)
    assert torch.nn.functional.cosine_similarity(expected, seen).min() > (0.99999 if dtype == torch.float32 else 0.999)


def test_layer_scale_stays_where_the_model_has_it():
    source, target = vit(init_values=0.5), timm.create_model("test_vit", num_classes=0, init_values=1.0)
    assert load_matching(target, source.state_dict(), ORIGIN) == ()
    assert torch.equal(target.blocks[0].ls1.gamma, source.blocks[0].ls1.gamma)


@pytest.mark.parametrize("wrap", [lambda tensors: tensors, teacher])
def test_chunks_of_blocks(wrap):
    source, target = vit(), timm.create_model("test_vit", num_classes=0)
    tensors = wrap(chunked(source.state_dict()))
    tensors = {f"teacher.{n}": v for n, v in tensors["teacher"].items()} if "teacher" in tensors else tensors
    assert load_matching(target, tensors, ORIGIN) == ()
    for name, value in target.state_dict().items():
        assert torch.equal(value, source.state_dict()[name]), name


def test_blocks_of_an_efficientnet_are_no_chunks():
    assert without_chunks(timm.create_model("test_efficientnet").state_dict()) is None


@pytest.mark.parametrize("shape", [(1, 1 + 36, 8), (1 + 36, 8), (1, 36, 8)])
def test_position_embeddings_are_resampled_as_timm_does(shape):
    before = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    prefix = shape[-2] - 36
    target = torch.zeros((*shape[:-2], prefix + 100, 8))
    adapted, notes = adapt_tensors({"pos_embed": before}, {"pos_embed": target})
    expected = resample_abs_pos_embed(before.reshape(1, -1, 8), [10, 10], num_prefix_tokens=prefix)
    torch.testing.assert_close(adapted["pos_embed"].reshape(1, -1, 8), expected)
    assert notes == ["position embeddings are resampled from 6 x 6 to 10 x 10 patches"]


@pytest.mark.parametrize("shape", [(1, 38, 8), (1, 37, 9), (1, 37, 8, 1)])
def test_other_shapes_of_position_embeddings_are_refused(shape):
    target = timm.create_model("test_vit", num_classes=0)
    tensors = target.state_dict() | {"pos_embed": torch.zeros(shape)}
    with pytest.raises(InputError, match="1 of another shape: pos_embed"):
        load_matching(target, tensors, ORIGIN)


def test_a_gated_mlp_under_dinov2s_names():
    own = {"blocks.0.mlp.fc1.weight": torch.zeros(4, 2), "blocks.0.mlp.fc2.weight": torch.zeros(2, 2)}
    tensors = {"blocks.0.mlp.w12.weight": torch.ones(4, 2), "blocks.0.mlp.w3.weight": torch.ones(2, 2)}
    assert list(adapt_tensors(tensors, own)[0]) == list(own)


def test_wrapped_names_that_would_become_one_are_left():
    tensors = {"a.weight": torch.zeros(1), "_orig_mod.a.weight": torch.ones(1)}
    assert without_wrappers(tensors) == tensors


def test_a_checkpoint_of_dinov2_from_file_to_features(tmp_path):
    """All of it at once: another input size, chunks, LayerScale, heads; the architecture is found by itself."""
    with torch.device("meta"):
        model = timm.create_model("vit_small_patch14_dinov2", img_size=224, num_classes=0)
    generator = torch.Generator().manual_seed(1)
    tensors = {name: torch.randn(v.shape, generator=generator) for name, v in model.state_dict().items()}
    torch.save(teacher(chunked(tensors)), tmp_path / "teacher_checkpoint.pth")
    backbone = load_checkpoint(EncoderSpec("checkpoint", f"{tmp_path}/teacher_checkpoint.pth"), None)
    assert backbone.architecture == "timm:vit_small_patch14_dinov2"
    assert backbone.notes == ("position embeddings are resampled from 16 x 16 to 37 x 37 patches",)
    assert torch.equal(backbone.model.blocks[7].mlp.fc1.weight, tensors["blocks.7.mlp.fc1.weight"])
