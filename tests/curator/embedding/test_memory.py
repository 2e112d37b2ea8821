"""Images that are sound and large: side by side they must not take the process down, and one that cannot be decoded
in the memory there is costs itself only. Real images under a real limit of memory, in processes of their own.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from curator.embedding.crash_probe import find_crashing_samples
from curator.errors import Reason
from curator.images import Budget, OpenedImage
from curator.sources import find_sources

SIDE = 9_900
GIB = 1 << 30


@pytest.fixture(scope="module")
def opaque() -> bytes:
    return _png("RGB", SIDE)


@pytest.fixture(scope="module")
def transparent() -> bytes:
    """Decoding it takes about 2.1 GB, since it is laid over white."""
    return _png("RGBA", SIDE)


def _png(mode: str, side: int) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (side, side), (200, 100, 50, 128)[: len(mode)]).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _photo(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.radial_gradient("L").rotate(number).resize((80, 60 + number)).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


def _shard(path: Path, images: Iterable[bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for number, data in enumerate(images):
            member = tarfile.TarInfo(f"{number:04d}.jpg")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


# As a worker does it, after everything is loaded: what is limited is what a shard takes beside that.
LIMITED = """
import hashlib, json, resource, sys
import torch
from curator.embedding import embed_source
from curator.encoders import load_encoder
from curator.sources import find_sources

path, threads, limit, hard, careful = sys.argv[1], *map(int, sys.argv[2:])
torch.set_num_threads(threads)
encoder = load_encoder("timm:test_efficientnet", weights="random", device="cpu", precision="fp32", batch_size=32)
encoder.encode(torch.zeros(encoder.input_shape, dtype=torch.uint8))
(source,) = find_sources([path], "pool", folders=False)
if limit:
    used = next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmData"))
    soft = used + limit
    resource.setrlimit(resource.RLIMIT_DATA, (soft, soft if hard else resource.RLIM_INFINITY))
told = {}
def tell(increments):
    for name, count in increments.items():
        told[name] = told.get(name, 0) + count
try:
    block, mark = embed_source(source, encoder, threads=threads, careful=bool(careful), report=tell)
except MemoryError as error:
    print(json.dumps({"error": str(error)}))
else:
    print(json.dumps({
        "keys": [row.key for row in block.rows],
        "sha256": hashlib.sha256(block.vectors.tobytes()).hexdigest(),
        "ledger": [[line.key, line.reason, line.detail] for line in mark.ledger],
        "told": told,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
    }))
"""


def _embed(shard: Path, *, threads: int = 2, limit: int = 0, hard: bool = False, careful: bool = False) -> Any:
    numbers = [threads, limit, int(hard), int(careful)]
    command = [sys.executable, "-c", LIMITED, str(shard), *map(str, numbers)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_six_large_images_side_by_side(opaque: bytes, tmp_path: Path) -> None:
    """Together they take 2.4 GB; each alone 0.4."""
    shard = _shard(tmp_path / "x.tar", [opaque] * 6)
    done = _embed(shard, threads=6, limit=GIB)
    assert done["keys"] == [f"{number:04d}" for number in range(6)]
    assert done["ledger"] == []


@pytest.mark.slow
def test_one_that_needs_more_than_there_is_costs_itself(transparent: bytes, tmp_path: Path) -> None:
    photos = [_photo(number) for number in range(40)]
    shard = _shard(tmp_path / "x.tar", [*photos[:20], transparent, *photos[20:]])
    done = _embed(shard, limit=GIB, hard=True)
    without = _embed(_shard(tmp_path / "y.tar", photos), threads=4)

    ((key, reason, detail),) = done["ledger"]
    assert (key, reason) == ("0020", Reason.DECODER_CRASH)
    assert "needs more than" in detail
    assert done["sha256"] == without["sha256"]
    assert len(done["keys"]) == 40
    # What the first try had told was taken back.
    assert done["told"] == {"samples": 40, "bad": 1}


@pytest.mark.slow
def test_no_image_is_guilty_of_a_worker_with_little_memory(transparent: bytes, tmp_path: Path) -> None:
    """The limit is the worker's own, so the child, which has more, decodes the image."""
    done = _embed(_shard(tmp_path / "x.tar", [_photo(1), transparent]), limit=GIB)
    assert "its images need more memory than there is" in done["error"]


@pytest.mark.slow
def test_care_gives_the_same_bytes(tmp_path: Path) -> None:
    shard = _shard(tmp_path / "x.tar", map(_photo, range(70)))
    fast = _embed(shard, threads=4)
    careful = _embed(shard, threads=4, careful=True)
    assert [careful[name] for name in ("keys", "sha256", "ledger")] == [
        fast[name] for name in ("keys", "sha256", "ledger")
    ]


@pytest.mark.slow
def test_the_child_names_what_needs_more_than_its_limit(transparent: bytes, tmp_path: Path) -> None:
    images = [_photo(1), transparent, _photo(2), transparent, _photo(3)]
    (source,) = find_sources([str(_shard(tmp_path / "x.tar", images))], "pool", folders=False)
    told = "the decoder needs more than 1.0 GiB of memory"
    assert find_crashing_samples(source, memory=GIB) == {"0001": told, "0003": told}


@pytest.mark.parametrize(("mode", "most"), [("RGB", 12), ("RGBA", 32), ("L", 12), ("LA", 32), ("P", 12)])
def test_the_header_tells_what_decoding_takes(mode: str, most: int) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (300, 200)).save(buffer, "PNG")
    data = buffer.getvalue()
    assert OpenedImage(data).decoding_bytes == 300 * 200 * most + len(data)


def test_a_budget_is_never_exceeded_but_by_one_alone() -> None:
    budget = Budget(10)
    held, most = [0], []
    lock = threading.Lock()

    def work(size: int) -> None:
        for _ in range(50):
            with budget.hold(size):
                with lock:
                    held[0] += size
                    most.append((held[0], size))
                with lock:
                    held[0] -= size

    threads = [threading.Thread(target=work, args=(size,)) for size in (1, 3, 4, 7, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert all(total <= 10 or total == size for total, size in most)
