"""Weights: from a file, from the network, or random."""

from __future__ import annotations

import argparse
import io
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import torch

from curator.errors import InputError
from curator.io import storage
from curator.io.urls import absolute

__all__ = ["RANDOM", "downloading", "find_tensors", "load_file", "random_weights", "read_weights"]

RANDOM = "random"
_PATIENCE_SECONDS = 10
# Under which key training scripts put the tensors. Averages first, as timm's own scripts do.
_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model", "model_state_dict")


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
            # Training scripts save their flags along; a Namespace holds values and runs nothing.
            with torch.serialization.safe_globals([argparse.Namespace]):
                loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        detail = str(error).strip().split("\n")[0][:200]
        raise InputError(f"{source}: not a readable weights file ({detail})") from error
    return loaded


def find_tensors(loaded: object, source: str) -> dict[str, torch.Tensor]:
    """The tensors in what `load_file` gave, by name.

    A `state_dict` inside a training checkpoint is found, and the `module.` that data-parallel training
    puts before every name is taken off. Several networks side by side keep their names before those of
    their tensors (`teacher.`, `student.`).

    Args:
        loaded: what the file holds.
        source: for messages: the flag it came from.

    Raises:
        InputError: no tensors by name.
    """
    for wrapper in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    tensors = dict(_flat(loaded, ""))
    if not tensors:
        raise InputError(f"{source}: holds no tensors by name; save a model's state_dict()")
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors


def _flat(value: object, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor) and name:
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            # An optimiser's tensors are as many as the model's, and none of its.
            if not str(key).startswith("optim"):
                yield from _flat(inner, f"{name}.{key}" if name else str(key))


@contextmanager
def random_weights(seed: int = 0) -> Iterator[None]:
    """Models built inside get the same random weights in every process; torch's own state is kept."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
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
