"""Weights: from a file, from the network, or random."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import torch
from torch import nn

from curator import storage
from curator.errors import InputError
from curator.urls import absolute

__all__ = ["RANDOM", "downloading", "find_tensors", "fit_weights", "load_file", "random_weights", "read_weights"]

RANDOM = "random"
_SEED = 0
_PATIENCE_SECONDS = 10
# Under which key training scripts put the tensors.
_WRAPPERS = ("state_dict", "model", "model_state_dict", "state_dict_ema", "model_ema")


def read_weights(path: str) -> dict[str, torch.Tensor]:
    """The tensors of a weights file, by name.

    Raises:
        InputError: no such file, or it holds no tensors by name.
    """
    return find_tensors(load_file(path, f"--weights {path}"), f"--weights {path}")


def load_file(url: str, source: str) -> object:
    """What a weights file holds; safetensors, or what `torch.save` wrote. Never runs code from the file.

    Args:
        url: a local path, or anything fsspec reads.
        source: for messages: the flag it came from.

    Raises:
        InputError: no such file, or no readable one.
    """
    try:
        data = storage.read_bytes(absolute(url))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise InputError(f"{source}: no such file") from error
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({' '.join(str(error).split())[:200]})") from error
    try:
        if url.endswith(".safetensors"):
            from safetensors.torch import load

            loaded: object = load(data)
        else:
            loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        detail = str(error).strip().split("\n")[0][:200]
        raise InputError(f"{source}: not a readable weights file ({detail})") from error
    return loaded


def find_tensors(loaded: object, source: str) -> dict[str, torch.Tensor]:
    """The tensors in what `load_file` gave, by name.

    A `state_dict` inside a training checkpoint is found, and the `module.` that data-parallel training
    puts before every name is taken off.

    Args:
        loaded: what the file holds.
        source: for messages: the flag it came from.

    Raises:
        InputError: no tensors by name.
    """
    for wrapper in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise InputError(f"{source}: holds no tensors by name; save a model's state_dict()")
    tensors = {str(name): value for name, value in loaded.items()}
    if tensors and all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors


def fit_weights(
    model: nn.Module, tensors: Mapping[str, torch.Tensor], *, source: str, ignore: Iterable[str] = ()
) -> None:
    """Load tensors into a model, all of them into all of it.

    Args:
        model: the model without its head.
        tensors: name -> tensor.
        source: for messages: where they come from.
        ignore: names of modules whose tensors may be too many (the head that the model has no more).

    Raises:
        InputError: some are missing, too many or of another shape; the first few are named.
    """
    heads = tuple(f"{name}." for name in ignore if name)
    own = model.state_dict()
    kept = {name: value for name, value in tensors.items() if name in own or not name.startswith(heads or "\0")}
    missing = [name for name in own if name not in kept and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in kept if name not in own]
    misshapen = [
        f"{name} {_shape(value)} for {_shape(own[name])}"
        for name, value in kept.items()
        if name in own and value.shape != own[name].shape
    ]
    problems = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
    told = "; ".join(f"{len(names)} {what}: {_first(names)}" for what, names in problems.items() if names)
    if told:
        raise InputError(f"{source} does not fit the encoder: {told}")
    model.load_state_dict(dict(kept), strict=False)


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(str(side) for side in tensor.shape) or "scalar"


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


@contextmanager
def random_weights() -> Iterator[None]:
    """Models built inside get the same random weights in every process; torch's own state is kept."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        yield


@contextmanager
def downloading(what: str, advice: str = "pass --weights PATH") -> Iterator[None]:
    """Around a library's own download: patient, but not for minutes, and one line when it fails.

    Args:
        what: for the message: what is wanted.
        advice: for the message: what else to do.

    Raises:
        InputError: whatever the library raised; says what could not be had.
    """
    from huggingface_hub import constants

    # Unreachable, the hub's client tries each of several files six times: 46 s before it looks into
    # its cache. Offline it looks there at once.
    was_offline, before = constants.HF_HUB_OFFLINE, socket.getdefaulttimeout()
    constants.HF_HUB_OFFLINE = was_offline or not _reachable(constants.ENDPOINT)
    socket.setdefaulttimeout(_PATIENCE_SECONDS)
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if constants.HF_HUB_OFFLINE and not was_offline:
            detail = f"{urlsplit(constants.ENDPOINT).hostname} cannot be reached"
        else:
            detail = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"could not get {what} ({detail}); {advice}") from error
    finally:
        constants.HF_HUB_OFFLINE = was_offline
        socket.setdefaulttimeout(before)


def _reachable(url: str) -> bool:
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        # Only the proxy knows.
        return True
    parts = urlsplit(url)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=_PATIENCE_SECONDS):
            return True
    except OSError:
        return False
