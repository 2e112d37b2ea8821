"""Which device and precision an encoder runs in."""

from __future__ import annotations

import torch

from curator.errors import InputError

__all__ = ["has_native_bf16", "resolve_device", "resolve_precision"]


def resolve_device(device: str) -> torch.device:
    """`auto` is the GPU if there is one.

    Raises:
        InputError: a GPU is asked for where there is none.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"--device {device}: unknown; it is auto, cpu or cuda") from error
    if resolved.type not in ("cpu", "cuda"):
        raise InputError(f"--device {device}: not supported; it is auto, cpu or cuda")
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise InputError(f"--device {device}: torch sees {torch.cuda.device_count()} GPUs; use --device cpu")
    return resolved


def resolve_precision(precision: str, device: torch.device) -> str:
    """`auto` is bf16 where the hardware multiplies in it, else fp32.

    Raises:
        InputError: bf16 is asked for where the hardware only emulates it, or has none.
    """
    if precision == "auto":
        return "bf16" if has_native_bf16(device) else "fp32"
    if precision not in ("bf16", "fp32"):
        raise InputError(f"--precision {precision}: unknown; it is auto, fp32 or bf16")
    if precision == "bf16" and not has_native_bf16(device):
        raise InputError(f"--precision bf16: this {device.type} does not calculate in bf16; use --precision fp32")
    return precision


def has_native_bf16(device: torch.device) -> bool:
    """Whether the device multiplies in bf16 itself; emulated, it is slower than fp32.

    ARM's bf16 is not counted: nothing here was ever measured on it.
    """
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # oneDNN's own answer is yes for all of AVX-512, which emulates it.
    try:
        supported = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):
        return False
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return supported and bool(native)
