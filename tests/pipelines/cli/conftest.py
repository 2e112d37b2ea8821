from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curator_pipelines.cli.main import run
from curator_pipelines.executors import InProcessExecutor

ENCODER = ["--encoder", "timm:test_vit", "--weights", "random", "--precision", "fp32"]


def make_image(seed: int, format: str = "JPEG", size: tuple[int, int] = (40, 36)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format)
    return buffer.getvalue()


def make_tar(path: Path, files: Iterable[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@dataclass(frozen=True)
class Ran:
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True, scope="module")
def in_process() -> Iterator[None]:
    """No worker processes and no check of the preprocessing: these tests are about what commands say."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("select.prepare", "select.pack", "measure.measure_run", "measure.choice"):
            patch.setattr(f"curator_pipelines.jobs.{module}.make_executor", lambda *arguments: InProcessExecutor())
        patch.setattr("curator.encoders.check_preprocess.lowest_cosine", lambda encoder, images: 1.0)
        yield


@pytest.fixture
def curator(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command in this process."""

    def call(*words: object) -> Ran:
        capsys.readouterr()
        code = run([str(word) for word in words])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return call


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with `target/` (5 photos) and `pool-0.tar`, `pool-1.tar` (8 samples each)."""
    return make_data(tmp_path)


@pytest.fixture(scope="module")
def finished_data(tmp_path_factory: pytest.TempPathFactory, in_process: None) -> Path:
    """The same with a finished `run/` of 3 samples, shared by a module: leave it as you found it."""
    root = make_data(tmp_path_factory.mktemp("finished"))
    assert run([str(word) for word in select_words(root, "--budget", 3)]) == 0
    return root


def make_data(root: Path) -> Path:
    (root / "target").mkdir()
    for index in range(5):
        (root / "target" / f"{index}.jpg").write_bytes(make_image(index))
    for shard in range(2):
        files = [(f"{index:03d}.jpg", make_image(100 * (shard + 1) + index)) for index in range(8)]
        make_tar(root / f"pool-{shard}.tar", files)
    return root


def select_words(root: Path, *words: object, pool: str = "pool-{0..1}.tar", target: str = "target") -> list[object]:
    where = ["--target", root / target, "--pool", root / pool, "--out", root / "run"]
    # An encoder among the words would be a second one.
    encoder = ENCODER[2:] if "--encoder" in words else ENCODER
    return ["select", *where, *encoder, "--clusters", 3, *words]


@pytest.fixture
def select(curator: Callable[..., Ran], data: Path) -> Callable[..., Ran]:
    """`curator select` on the data, with these words behind; later ones win over the defaults."""
    return lambda *words, **where: curator(*select_words(data, *words, **where))


@pytest.fixture
def again(curator: Callable[..., Ran], finished_data: Path) -> Callable[..., Ran]:
    """As `select`, on the data of the finished run."""
    return lambda *words, **where: curator(*select_words(finished_data, *words, **where))
