"""The device and the precision that an encoder runs in."""

from __future__ import annotations

import os

import torch

from curator.errors import InputError, Use

__all__ = ["count_gpus", "has_native_bf16", "resolve_device", "resolve_precision"]

_DEVICES = "give auto, cpu or cuda"
# For tests of clusters on machines without GPUs: so many count as seen, and the CPU does their work.
_TEST_GPUS = "CURATOR_TEST_GPUS"


def count_gpus() -> int:
    """The number of GPUs that torch sees."""
    return _stand_ins() or torch.cuda.device_count()


def _stand_ins() -> int:
    return int(os.environ.get(_TEST_GPUS) or 0)


def resolve_device(device: str) -> torch.device:
    """`auto` is the GPU if there is one.

    Raises:
        InputError: the device is unknown, or a GPU is named that torch does not see.
    """
    if device == "auto":
        device = "cuda" if _stand_ins() or torch.cuda.is_available() else "cpu"
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise InputError("unknown device", field="device", value=device, advice=_DEVICES) from error
    if resolved.type not in ("cpu", "cuda"):
        raise InputError("not supported", field="device", value=device, advice=_DEVICES)
    if resolved.type == "cuda" and (resolved.index or 0) >= count_gpus():
        message = f"torch sees {count_gpus()} GPUs"
        raise InputError(message, field="device", value=device, advice=Use("device", "cpu"))
    return torch.device("cpu") if resolved.type == "cuda" and _stand_ins() else resolved


def resolve_precision(precision: str, device: torch.device) -> str:
    """`auto` is bf16 where the hardware multiplies in it, else fp32.

    Raises:
        InputError: the precision is unknown, or it is bf16 and the hardware only emulates it or does not have it.
    """
    if precision == "auto":
        return "bf16" if has_native_bf16(device) else "fp32"
    if precision not in ("bf16", "fp32"):
        raise InputError("unknown", field="precision", value=precision, advice="give auto, fp32 or bf16")
    if precision == "bf16" and not has_native_bf16(device):
        message = f"this {device.type} does not calculate in bf16"
        raise InputError(message, field="precision", value=precision, advice=Use("precision", "fp32"))
    return precision


def has_native_bf16(device: torch.device) -> bool:
    """True if the device multiplies in bf16 itself. Emulated bf16 is slower than fp32.

    ARM's bf16 does not count, since nothing was measured on it.
    """
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # oneDNN says yes for all of AVX-512, which emulates bf16.
    try:
        supported = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):
        return False
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return supported and bool(native)
