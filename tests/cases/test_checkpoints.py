"""Files of weights as trainers leave them (cases 06 to 09)."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from inputs_for_tests import Curator, Ran, picture, refused, write_tar

Tensors = Mapping[str, torch.Tensor]
Embed = Callable[..., Ran]


@pytest.fixture
def embed(curator: Curator, tmp_path: Path) -> Embed:
    """`embed(content, architecture)`: a pool of three, by a file that holds this."""
    pool = write_tar(tmp_path / "pool.tar", [(f"{number}.jpg", picture(number)) for number in range(3)])

    def call(content: Any, architecture: str, out: str = "run") -> Ran:
        path = tmp_path / f"{out}.pth"
        torch.save(content, path)
        encoder = f"checkpoint:{path}@timm:{architecture}"
        small = ("--precision", "fp32", "--device", "cpu", "--batch-size", 32)
        return curator("embed", "--pool", pool, "--out", tmp_path / out, "--encoder", encoder, *small)

    return call


def rows(out: Path) -> np.ndarray:
    (path,) = (out / "pool" / "img_emb").glob("*.npy")
    return np.load(path)


def model_of(name: str, **options: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return dict(timm.create_model(name, num_classes=0, **options).state_dict())


def chunked(name: str) -> str:
    if not name.startswith("blocks."):
        return name
    _, number, rest = name.split(".", 2)
    return f"blocks.{int(number) // 2}.{number}.{rest}"


def test_06_dinov2s_own_training_checkpoints(embed: Embed, tmp_path: Path) -> None:
    tensors = model_of("test_vit", img_size=128, init_values=0.1) | {"mask_token": torch.zeros(1, 64)}
    backbone = {f"backbone.{chunked(name)}": value for name, value in tensors.items()}
    ran = embed({"teacher": backbone | {"dino_head.mlp.0.weight": torch.zeros(8, 64)}}, "test_vit")
    assert ran.code == 0, ran.err
    assert "position embeddings are resampled from 8 x 8 to 10 x 10 patches" in ran.err
    assert rows(tmp_path / "run").shape == (3, 64)


BESIDE = {"best": np.float64(71.3), "schedule": np.linspace(0, 1, 5), "args": argparse.Namespace(out=Path("x"), lr=0.1)}


def test_07_harmless_objects_beside_the_weights_load(embed: Embed, tmp_path: Path) -> None:
    tensors = model_of("test_resnet")
    for out, beside in (("plain", {}), ("objects", BESIDE)):
        ran = embed({"state_dict": tensors} | beside, "test_resnet", out)
        assert ran.code == 0, ran.err
    assert np.array_equal(rows(tmp_path / "plain"), rows(tmp_path / "objects"))


def test_07_others_are_named_and_no_code_is_run(embed: Embed) -> None:
    whole = timm.create_model("test_resnet", num_classes=0)
    refused(embed(whole, "test_resnet"), "an object of timm.models.resnet.ResNet", "state_dict")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_08_torchscript_is_named_with_how_to_convert_it(curator: Curator, tmp_path: Path) -> None:
    path = tmp_path / "ViT-B-32.pt"
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 3), torch.zeros(1, 2)), str(path))
    pool = write_tar(tmp_path / "pool.tar", [("1.jpg", picture(1))])
    words = ("--pool", pool, "--out", tmp_path / "run", "--encoder", "timm:test_resnet", "--weights", path)
    ran = curator("embed", *words)
    refused(ran, "ViT-B-32.pt", "it is a TorchScript archive", "in Python: ")
    assert ".py:" not in ran.err


def prefixed(prefix: str) -> Callable[[Tensors], Any]:
    return lambda tensors: {"state_dict": {f"{prefix}{name}": value for name, value in tensors.items()}}


def regional(tensors: Tensors) -> Any:
    """As torch.compile of each stage names them."""
    return {"model": {name.replace("layer1.", "layer1._orig_mod."): value for name, value in tensors.items()}}


def average(tensors: Tensors) -> Any:
    """As torch's own AveragedModel, beside what is averaged."""
    ema = {f"module.{name}": value for name, value in tensors.items()} | {"n_averaged": torch.tensor(3)}
    return {"model": dict(tensors), "model_ema": ema, "epoch": 3}


WRAPPED = {
    "compiled": prefixed("_orig_mod."),
    "compiled, DDP": prefixed("_orig_mod.module."),
    "DDP, compiled": prefixed("module._orig_mod."),
    "Lightning": prefixed("backbone."),
    "regional": regional,
    "EMA": average,
}


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(w, id=name, marks=() if name == "compiled, DDP" else pytest.mark.slow)
        for name, w in WRAPPED.items()
    ],
)
def test_09_prefixes_of_wrappers_change_nothing(
    embed: Embed, tmp_path: Path, wrap: Callable[[Tensors], Any], plain_rows: np.ndarray
) -> None:
    ran = embed(wrap(model_of("test_resnet")), "test_resnet")
    assert ran.code == 0, ran.err
    assert np.array_equal(rows(tmp_path / "run"), plain_rows)


def test_09_half_precision(embed: Embed, tmp_path: Path, plain_rows: np.ndarray) -> None:
    half = {k: v.bfloat16() if v.is_floating_point() else v for k, v in model_of("test_resnet").items()}
    ran = embed(half, "test_resnet")
    assert ran.code == 0, ran.err
    assert (rows(tmp_path / "run") * plain_rows).sum(axis=1).min() > 0.99


@pytest.fixture
def plain_rows(embed: Embed, tmp_path: Path) -> np.ndarray:
    """The rows of the same weights without any wrapper."""
    assert embed(model_of("test_resnet"), "test_resnet", "plain-rows").code == 0
    return rows(tmp_path / "plain-rows")
