"""Weights: from a file, from the network, or random."""

from __future__ import annotations

import argparse
import io
import os
import re
import socket
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import torch

from curator.encoders.adapt_tensors import without_wrappers
from curator.errors import Advice, InputError, Use
from curator.io import absolute, storage

__all__ = ["RANDOM", "WeightsOrigin", "downloading", "find_tensors", "load_file", "random_weights", "read_weights"]

RANDOM = "random"
_PATIENCE_SECONDS = 10
_USE_WEIGHTS = Use("weights")
# How torch names what it refuses to load.
_BLOCKED = re.compile(r"(?:GLOBAL |unrecognized function <curator\.encoders\.weights\.)(\S+) ")
# The keys under which training scripts put the tensors. Averages come first, as in timm's own scripts.
_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model", "model_state_dict")


@dataclass(frozen=True)
class WeightsOrigin:
    """Where tensors come from, for messages.

    Attributes:
        field: the setting that names the file; None for a file that no setting names.
        name: the value of that setting, or a description of the file.
    """

    field: str | None
    name: str

    def error(self, message: str, advice: Advice | tuple[Advice, ...] = ()) -> InputError:
        """The error that tells what is wrong with the tensors."""
        if self.field is None:
            return InputError(f"{self.name}: {message}", advice=advice)
        return InputError(message, field=self.field, value=self.name, advice=advice)


def read_weights(path: str) -> dict[str, torch.Tensor]:
    """The tensors of a weights file, by name.

    Raises:
        InputError: there is no such file, or it holds no tensors by name.
    """
    origin = WeightsOrigin("weights", path)
    return find_tensors(load_file(path, origin), origin)


def load_file(url: str, origin: WeightsOrigin) -> object:
    """The content of a weights file: safetensors, or what `torch.save` wrote. Never runs code from the file.

    Args:
        url: a local path, or anything fsspec reads.
        origin: where the file comes from, for messages.

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    try:
        data = storage.read_bytes(absolute(url))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise origin.error("no such file") from error
    except OSError as error:
        raise origin.error(f"it cannot be read ({' '.join(str(error).split())[:200]})") from error
    try:
        return _parse(data, url)
    except _TorchScriptError as error:
        raise origin.error(
            "it is a TorchScript archive, a program with its weights inside (as OpenAI's CLIP files are)",
            advice=f"convert it once, in Python: torch.save(torch.jit.load({url!r}, map_location='cpu').state_dict(), "
            "'weights.pt')",
        ) from error
    except Exception as error:
        detail = " ".join(str(error).rpartition("WeightsUnpickler error:")[2].split())
        if blocked := _BLOCKED.search(detail):
            raise origin.error(
                f"it holds {blocked[1]}, and code of a file is never run", advice="save the model's state_dict() alone"
            ) from error
        raise origin.error(f"it is not a readable weights file ({detail[:200]})") from error


class _TorchScriptError(Exception):
    """The file is a TorchScript archive."""


class Inert:
    """Stands for an object of a file that is no tensor: takes whatever the file says of it, and does nothing.

    Training scripts save their settings, metrics and whole models along. Nothing of their code is run.
    """

    def __new__(cls, *args: object, **options: object) -> Inert:
        """Any arguments will do."""
        return super().__new__(cls)

    def __init__(self, *args: object, **options: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass


def _parse(data: bytes, url: str) -> object:
    if url.endswith(".safetensors"):
        from safetensors.torch import load

        loaded: object = load(data)
        return loaded
    if not zipfile.is_zipfile(io.BytesIO(data)):
        # Of before torch 1.6.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if any(name.endswith("/constants.pkl") for name in archive.namelist()):
            raise _TorchScriptError
    names = torch.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(data))
    # Each a class of its own: torch tells them apart by their types.
    inert: list[Any] = [(type(name, (Inert,), {}), name) for name in names]
    with torch.serialization.safe_globals(inert):
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def find_tensors(loaded: object, origin: WeightsOrigin) -> dict[str, torch.Tensor]:
    """The tensors in what `load_file` returned, by name.

    A `state_dict` inside a training checkpoint is found, and what data-parallel training, compilation and activation
    checkpointing put into names is taken off. Several networks side by side keep their names before those of
    their tensors (`teacher.`, `student.`).

    Args:
        loaded: the content of the file.
        origin: where the file comes from, for messages.

    Raises:
        InputError: the file holds no tensors by name.
    """
    for wrapper in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    tensors = dict(_flat(loaded, ""))
    if not tensors:
        what = f" but an object of {type(loaded).__name__}" if isinstance(loaded, Inert) else ""
        raise origin.error(f"it holds no tensors by name{what}", advice="save the model's state_dict() instead")
    tensors = without_wrappers(tensors)
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors


def _flat(value: object, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor) and name:
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            # An optimiser has as many tensors as the model, which are none of the model's.
            if not str(key).startswith("optim"):
                yield from _flat(inner, f"{name}.{key}" if name else str(key))


@contextmanager
def random_weights(seed: int = 0) -> Iterator[None]:
    """Models built inside get the same random weights in every process; torch's own state is kept."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def downloading(what: str, advice: Advice = _USE_WEIGHTS) -> Iterator[None]:
    """Around a library's own download: it waits for seconds, not minutes, and fails with one line.

    Args:
        what: what is downloaded, for the message.
        advice: what else to do, for the message.

    Raises:
        InputError: the library raised an error; the message says what could not be downloaded.
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
        raise InputError(f"could not get {what} ({detail})", advice=advice) from error
    finally:
        constants.HF_HUB_OFFLINE = was_offline
        socket.setdefaulttimeout(before)


def _reachable(url: str) -> bool:
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        # Only the proxy can tell.
        return True
    parts = urlsplit(url)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=_PATIENCE_SECONDS):
            return True
    except OSError:
        return False
