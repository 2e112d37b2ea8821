"""Small inputs of the kinds that people have."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

# Small enough that a run takes a second, with random weights, so that nothing is looked up.
ENCODER = ("--encoder", "timm:test_efficientnet", "--weights", "random", "--precision", "fp32")


@dataclass(frozen=True)
class Ran:
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


Curator = Callable[..., Ran]


def picture(seed: int, form: str = "JPEG", size: tuple[int, int] = (48, 40), **options: object) -> bytes:
    """A picture with some structure."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return encoded(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), form, **options)


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def write_tar(path: Path, files: Iterable[tuple[str, bytes]], form: int = tarfile.USTAR_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def write_folder(path: Path, count: int) -> Path:
    """Other pictures than the first thousand, so that no pool holds the target's own."""
    path.mkdir(parents=True)
    for number in range(count):
        (path / f"t{number}.jpg").write_bytes(picture(1000 + number))
    return path


def select(curator: Curator, root: Path, pool: object, *words: object) -> Ran:
    """`curator select` of four from a pool, for the folder `target` beside it, which is made if it is not there."""
    if not (root / "target").exists():
        write_folder(root / "target", 5)
    where = ("--target", root / "target", "--pool", pool, "--out", root / "run")
    return curator("select", *where, *ENCODER, "--budget", 4, "--no-report", *words)


def chosen_keys(root: Path) -> list[str]:
    found: list[str] = pq.read_table(root / "run" / "selection" / "selected.parquet")["key"].to_pylist()
    return found


def refused(ran: Ran, *words: str) -> None:
    """Exit 2 with one line that has all these words."""
    lines = ran.err.splitlines()
    assert (ran.code, ran.out) == (2, ""), ran.err
    assert sum(line.startswith("curator: ") for line in lines) == 1, ran.err
    assert "Traceback" not in ran.err
    for word in words:
        assert word in lines[-1]
