import os
import socket
import time

import pytest
import torch
from torch import nn

from curator.encoders import weights as module
from curator.encoders.weights import downloading, random_weights, read_weights
from curator.errors import InputError


class Evil:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize("wrap", [lambda t: t, lambda t: {"state_dict": t, "epoch": 3}, lambda t: {"model": t}])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_reads_what_torch_saved(tmp_path, wrap, prefix):
    path = tmp_path / "weights.pt"
    torch.save(wrap({f"{prefix}a.weight": torch.arange(3)}), path)
    read = read_weights(str(path))
    assert list(read) == ["a.weight"]
    assert read["a.weight"].tolist() == [0, 1, 2]


def test_reads_safetensors(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, tmp_path / "w.safetensors")
    assert read_weights(str(tmp_path / "w.safetensors"))["a"].tolist() == [1, 1]


@pytest.mark.parametrize("content", [b"", b"no weights", "evil", "list"])
def test_unreadable_files(tmp_path, content):
    path = tmp_path / "w.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save({"evil": {"a": Evil()}, "list": [1, 2]}[content], path)
    with pytest.raises(InputError, match=r"w\.pt") as caught:
        read_weights(str(path))
    assert "\n" not in str(caught.value)


def test_no_such_file():
    with pytest.raises(InputError, match="no such file"):
        read_weights("/nowhere/w.pt")


def test_random_weights_are_the_same_and_leave_torchs_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    with random_weights():
        first = nn.Linear(2, 2).weight
    assert torch.equal(torch.rand(1), expected)
    with random_weights():
        assert torch.equal(nn.Linear(2, 2).weight, first)


def test_a_failed_download_is_one_line(monkeypatch):
    monkeypatch.setattr(module, "_reachable", lambda url: True)
    told = r"could not get the weights \(no route\): give weights$"
    with pytest.raises(InputError, match=told), downloading("the weights"):
        raise OSError("no\nroute")


def test_offline_the_hub_is_not_waited_for(monkeypatch):
    from huggingface_hub import constants, hf_hub_download

    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.invalid")
    monkeypatch.setattr(module, "_reachable", lambda url: False)
    before = constants.HF_HUB_OFFLINE, socket.getdefaulttimeout()
    started = time.monotonic()
    with pytest.raises(InputError, match=r"hub\.invalid cannot be reached"), downloading("it"):
        hf_hub_download("nobody/nothing", "weights.bin")
    assert time.monotonic() - started < 5
    assert (constants.HF_HUB_OFFLINE, socket.getdefaulttimeout()) == before


def test_reachable(monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert module._reachable(url)
    assert not module._reachable(url)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
    assert module._reachable(url)
