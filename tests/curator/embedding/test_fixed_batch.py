"""Machines that calculate alike, almost alike, and wrongly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from curator.embedding import check_fixed_batch, kinds_of_machine
from curator.encoders import Encoder, load_encoder
from curator.encoders.device import has_native_bf16
from curator.errors import CuratorError


@pytest.fixture
def encoder() -> Encoder:
    return load_encoder("timm:test_efficientnet", weights="random", device="cpu", precision="fp32")


def disturb(encoder: Encoder, by: float) -> None:
    """Let it calculate otherwise, as another machine does."""
    chance = torch.Generator().manual_seed(1)
    for tensor in encoder._model.state_dict().values():
        if tensor.is_floating_point():
            tensor += by * torch.randn(tensor.shape, generator=chance)


def test_equal_bits_are_kept_once(encoder: Encoder, tmp_path: Path) -> None:
    check_fixed_batch(encoder, str(tmp_path))
    check_fixed_batch(encoder, str(tmp_path))

    assert len(list((tmp_path / "fixed_batch").iterdir())) == 1
    (kind,) = kinds_of_machine(str(tmp_path), encoder.identity)
    assert torch.__version__ in kind


def test_the_images_are_the_same_in_larger_batches(encoder: Encoder, tmp_path: Path) -> None:
    larger = load_encoder("timm:test_efficientnet", weights="random", device="cpu", precision="fp32", batch_size=50)

    check_fixed_batch(encoder, str(tmp_path))
    check_fixed_batch(larger, str(tmp_path))  # vectors of other images would be an error


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_other_bits_are_one_more_kind(precision: str, tmp_path: Path) -> None:
    if precision == "bf16" and not has_native_bf16(torch.device("cpu")):
        pytest.skip("this CPU emulates bf16, by the same kernels in both cases")
    encoder = load_encoder("timm:test_efficientnet", weights="random", device="cpu", precision=precision)

    check_fixed_batch(encoder, str(tmp_path))
    with torch.backends.mkldnn.flags(enabled=False):  # other kernels, as on another machine
        check_fixed_batch(encoder, str(tmp_path))

    assert len(kinds_of_machine(str(tmp_path), encoder.identity)) == 2


def test_other_vectors_are_an_error_and_are_not_kept(encoder: Encoder, tmp_path: Path) -> None:
    check_fixed_batch(encoder, str(tmp_path))
    disturb(encoder, by=1.0)

    with pytest.raises(CuratorError, match=r"cosine -?0\.\d+.*calculates wrongly"):
        check_fixed_batch(encoder, str(tmp_path))
    assert len(kinds_of_machine(str(tmp_path), encoder.identity)) == 1


@pytest.mark.usefixtures("emulated_bf16")
def test_encoders_of_another_identity_are_not_compared(encoder: Encoder, tmp_path: Path) -> None:
    check_fixed_batch(encoder, str(tmp_path))
    other = load_encoder("timm:test_efficientnet", weights="random", device="cpu", precision="bf16")
    disturb(other, by=1.0)

    check_fixed_batch(other, str(tmp_path))

    assert len(kinds_of_machine(str(tmp_path), encoder.identity)) == 1


def test_a_row_without_direction_must_be_one_everywhere(encoder: Encoder, tmp_path: Path) -> None:
    for tensor in encoder._model.state_dict().values():
        tensor *= 0
    check_fixed_batch(encoder, str(tmp_path))
    (file,) = (tmp_path / "fixed_batch").iterdir()
    assert json.loads(file.read_text())["rows"] == 8

    check_fixed_batch(encoder, str(tmp_path))
    sound = load_encoder("timm:test_efficientnet", weights="random", device="cpu", precision="fp32")
    with pytest.raises(CuratorError, match=r"cosine 0\.0000"):
        check_fixed_batch(sound, str(tmp_path))
