import pytest
import torch

from curator.encoders import device as module
from curator.encoders.device import has_native_bf16, resolve_device, resolve_precision
from curator.errors import InputError

CPU = torch.device("cpu")


def test_auto_takes_the_gpu_if_there_is_one(monkeypatch):
    for there, chosen in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        monkeypatch.setattr(torch.cuda, "device_count", lambda there=there: int(there))
        assert resolve_device("auto").type == chosen


@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_no_gpu(monkeypatch, device):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(InputError, match="give device='cpu'"):
        resolve_device(device)


@pytest.mark.parametrize("device", ["gpu", "mps", "meta"])
def test_other_devices(device):
    with pytest.raises(InputError, match=device):
        resolve_device(device)


@pytest.mark.parametrize("native", [True, False])
def test_precision(monkeypatch, native):
    monkeypatch.setattr(module, "has_native_bf16", lambda device: native)
    assert resolve_precision("auto", CPU) == ("bf16" if native else "fp32")
    assert resolve_precision("fp32", CPU) == "fp32"
    if native:
        assert resolve_precision("bf16", CPU) == "bf16"
    else:
        with pytest.raises(InputError, match="give precision='fp32'"):
            resolve_precision("bf16", CPU)
    with pytest.raises(InputError, match="fp16"):
        resolve_precision("fp16", CPU)


def test_emulated_bf16_does_not_count(monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    for avx512, amx in ((True, False), (False, True), (False, False)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda avx512=avx512: avx512)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda amx=amx: amx)
        assert has_native_bf16(CPU) == (avx512 or amx)
