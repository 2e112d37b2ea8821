"""What a machine can compute with, as torch sees it there."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Hardware", "look_at_hardware"]


@dataclass(frozen=True)
class Hardware:
    """The devices of one machine.

    Attributes:
        gpus: the number of GPUs that torch sees.
        gpu: the name of the first; empty without one.
        bf16: the kinds of device (`cpu`, `cuda`) that multiply in bf16 themselves.
    """

    gpus: int
    gpu: str
    bf16: frozenset[str]

    def name(self, device: str) -> str:
        """A kind of device for people, such as `cuda (NVIDIA H200)`."""
        return f"{device} ({self.gpu})" if device == "cuda" else "the CPU"


def look_at_hardware() -> Hardware:
    """What torch sees in this process; where there is a GPU, that begins to use it."""
    import torch

    from curator.encoders.device import count_gpus, has_native_bf16, resolve_device

    gpus = count_gpus()
    devices = {"cpu": torch.device("cpu")} | ({"cuda": resolve_device("cuda")} if gpus else {})
    gpu = ""
    if gpus:
        gpu = torch.cuda.get_device_name(0) if devices["cuda"].type == "cuda" else "stand-in of a test"
    return Hardware(gpus, gpu, frozenset(kind for kind, device in devices.items() if has_native_bf16(device)))
