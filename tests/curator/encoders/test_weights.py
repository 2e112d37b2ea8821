import argparse
import datetime
import enum
import os
import pathlib
import socket
import time

import numpy as np
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


class Phase(enum.Enum):
    WARM = 1


class Settings:
    def __init__(self):
        self.rate, self.names = 0.1, ["a"]


BESIDE = {
    "a NumPy number": np.float64(71.3),
    "an array": np.linspace(0, 1, 5),
    "a path": argparse.Namespace(out=pathlib.Path("out"), lr=0.1),
    "a date": datetime.datetime(2026, 1, 2),
    "an enum": {Phase.WARM: 3},
    "anyone's own": Settings(),
    "code, not called": {"function": time.sleep},
}


@pytest.mark.parametrize("beside", BESIDE.values(), ids=BESIDE)
def test_what_training_scripts_save_beside_the_weights_does_no_harm(tmp_path, beside):
    torch.save({"state_dict": {"a": torch.ones(2)}, "beside": beside}, tmp_path / "w.pt")
    assert read_weights(str(tmp_path / "w.pt"))["a"].tolist() == [1, 1]


def test_settings_of_omegaconf_do_no_harm(tmp_path):
    omegaconf = pytest.importorskip("omegaconf")
    settings = omegaconf.OmegaConf.create({"method": "moco", "lr": 0.3, "sizes": [1, 2], "path": "${method}"})
    torch.save({"state_dict": {"a": torch.ones(2)}, "hyper_parameters": settings}, tmp_path / "w.ckpt")
    assert list(read_weights(str(tmp_path / "w.ckpt"))) == ["a"]


class Touch:
    """Unpickled in the ordinary way it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


@pytest.mark.parametrize("old_format", [False, True])
def test_code_of_a_file_is_never_run(tmp_path, old_format):
    content = {"state_dict": {"a": torch.ones(2)}, "evil": Touch(tmp_path / "touched")}
    torch.save(content, tmp_path / "w.pt", _use_new_zipfile_serialization=not old_format)
    with pytest.raises(InputError, match=r"it holds \S*getattr, and code of a file is never run"):
        read_weights(str(tmp_path / "w.pt"))
    assert not (tmp_path / "touched").exists()


def test_what_is_refused_is_named(tmp_path):
    torch.save({"state_dict": {"a": torch.ones(2)}, "evil": Evil()}, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"it holds posix\.system, and code .*: save the model's state_dict\(\) alone"):
        read_weights(str(tmp_path / "w.pt"))


def test_a_whole_pickled_model_is_named(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "w.pt")
    told = r"holds no tensors by name but an object of torch\.nn\.modules\.linear\.Linear: save the model's state_dict"
    with pytest.raises(InputError, match=told):
        read_weights(str(tmp_path / "w.pt"))


def test_torchscript_is_named_with_how_to_convert_it(tmp_path, recwarn):
    path = tmp_path / "ViT-B-32.pt"
    torch.jit.save(torch.jit.trace(nn.Linear(2, 3), torch.zeros(1, 2)), str(path))
    warned = len(recwarn)
    with pytest.raises(InputError, match="it is a TorchScript archive") as caught:
        read_weights(str(path))
    assert len(recwarn) == warned
    advice = str(caught.value).partition("in Python: ")[2]
    exec(advice.replace("'weights.pt'", repr(str(tmp_path / "weights.pt"))), {"torch": torch})
    assert sorted(read_weights(str(tmp_path / "weights.pt"))) == ["bias", "weight"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("_orig_mod.a.weight", "a.weight"),
        ("_orig_mod.module.a.weight", "a.weight"),
        ("module._orig_mod.a.weight", "a.weight"),
        ("layer1._orig_mod.0.weight", "layer1.0.weight"),
        ("layer1._checkpoint_wrapped_module.0.weight", "layer1.0.weight"),
        ("_fsdp_wrapped_module.a._fsdp_wrapped_module.weight", "a.weight"),
    ],
)
def test_names_of_wrappers(tmp_path, before, after):
    torch.save({before: torch.ones(1)}, tmp_path / "w.pt")
    assert list(read_weights(str(tmp_path / "w.pt"))) == [after]


def test_regional_compilation_as_torch_writes_it(tmp_path):
    model = nn.Sequential(torch.compile(nn.Linear(2, 2)), nn.Linear(2, 2))
    torch.save(model.state_dict(), tmp_path / "w.pt")
    assert list(read_weights(str(tmp_path / "w.pt"))) == ["0.weight", "0.bias", "1.weight", "1.bias"]


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
