"""Fixed images, encoded by every worker before its first shard: whether machines calculate alike.

Equal vectors of these images are no proof that all others are equal, but other ones prove that they are not. What was
found is kept beside the parts, a small file for each result that differs in any bit, named by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from curator.encoders import IDENTITY_FIELDS, Encoder
from curator.errors import CuratorError
from curator.io import storage

__all__ = ["LEAST_COSINE", "check_fixed_batch", "kinds_of_machine"]

FOLDER = "fixed_batch"
# Rows of the batch that are kept and compared; each is another image.
ROWS = 8
# Two sets of kernels on one CPU, oneDNN's and torch's own, give .99997 and more in bf16 with four encoders, and more
# in fp32: less than this is no rounding. Between a CPU and a GPU it was not measured.
LEAST_COSINE = 0.999


@dataclass(frozen=True)
class _Found:
    """What some worker got.

    Attributes:
        machine: the kind of machine, for people.
        vectors: float32 (ROWS, dim), unit rows.
    """

    machine: str
    vectors: np.ndarray


def check_fixed_batch(encoder: Encoder, store_url: str) -> None:
    """Encode the fixed images and compare with what others got who embed into this store. Costs one batch.

    Args:
        encoder: as this worker has loaded it.
        store_url: where its parts go; only results of an encoder of the same identity are compared.

    Raises:
        CuratorError: the vectors are others, by more than rounding.
    """
    vectors = np.ascontiguousarray(encoder.encode(_fixed_pixels(encoder.input_shape))[:ROWS])
    beginning = _beginning(encoder.identity)
    name = f"{beginning}{hashlib.sha256(vectors.tobytes()).hexdigest()[:16]}.json"
    known = _names(store_url, beginning)
    if name in known:
        return
    found = _Found(f"{_machine(encoder.device)}, batches of {encoder.batch_size}", vectors)
    for other in (_read(storage.join(store_url, FOLDER, each)) for each in known):
        _compare(found, other)
    storage.write_bytes(storage.join(store_url, FOLDER, name), _as_json(found))


def kinds_of_machine(store_url: str, identity: Mapping[str, Any]) -> list[str]:
    """The kinds of machine whose vectors of the fixed images differ in any bit; one for each result, sorted.

    Args:
        store_url: where the parts go.
        identity: of the encoder, as `Encoder.identity`; what it holds besides does not matter.
    """
    names = _names(store_url, _beginning(identity))
    return sorted(_read(storage.join(store_url, FOLDER, name)).machine for name in names)


def _compare(ours: _Found, other: _Found) -> None:
    # A row without a direction is NaN: it must be so on both.
    is_none = np.isnan(ours.vectors).any(axis=1)
    products = (np.nan_to_num(ours.vectors) * np.nan_to_num(other.vectors)).sum(axis=1)
    cosine = float(np.where(is_none & np.isnan(other.vectors).any(axis=1), 1.0, products).min())
    if cosine < LEAST_COSINE:
        raise CuratorError(
            f"the vectors of fixed images are not those that {other.machine} got for this run: cosine {cosine:.4f}, "
            f"and less than {LEAST_COSINE} is no rounding. One of the two calculates wrongly; here it is {ours.machine}"
        )


def _fixed_pixels(shape: tuple[int, int, int, int]) -> torch.Tensor:
    """`ROWS` images of coarse and fine noise, again and again: uint8, by integer arithmetic, the same everywhere."""
    batch, channels, height, width = shape
    chance = np.random.default_rng(0)
    coarse = chance.integers(0, 256, (ROWS, channels, 8, 8), dtype=np.uint16)
    rows, columns = np.arange(height) * 8 // height, np.arange(width) * 8 // width
    fine = chance.integers(0, 256, (ROWS, channels, height, width), dtype=np.uint16)
    pixels = (3 * coarse[:, :, rows][:, :, :, columns] + fine) // 4
    return torch.from_numpy(pixels.astype(np.uint8)[np.arange(batch) % ROWS])


def _beginning(identity: Mapping[str, Any]) -> str:
    """What the names of an encoder's files begin with."""
    own = {name: identity[name] for name in IDENTITY_FIELDS}
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:16] + "-"


def _names(store_url: str, beginning: str) -> list[str]:
    return [name for name in storage.list_names(storage.join(store_url, FOLDER)) if name.startswith(beginning)]


def _as_json(found: _Found) -> bytes:
    vectors = base64.b64encode(found.vectors.astype("<f4").tobytes()).decode()
    return json.dumps({"machine": found.machine, "rows": len(found.vectors), "float32": vectors}).encode()


def _read(url: str) -> _Found:
    record = json.loads(storage.read_bytes(url))
    vectors = np.frombuffer(base64.b64decode(record["float32"]), "<f4").reshape(record["rows"], -1)
    return _Found(record["machine"], vectors)


def _machine(device: torch.device) -> str:
    """A kind of machine: its processor, and the version of torch."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu()
    return f"{name}, torch {torch.__version__}"


def _cpu() -> str:
    """The CPU's name, and the instructions that torch takes on it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{next(names, platform.processor() or platform.machine())} ({torch.backends.cpu.get_cpu_capability()})"
