"""The base, and the base with each extra alone, do what they are for; what is missing is one line before any work."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from closure import brought_by, hide_all_but, project

EXTRAS = sorted(set(project()) - {"", "dev", "gpu"})
# Each of them starts processes that import torch.
pytestmark = pytest.mark.slow

Ran = subprocess.CompletedProcess[str]
Run = Callable[..., Ran]


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Extra -> the environment of a process that sees no more than it brings; the base under an empty name."""
    return {
        extra: hide_all_but(tmp_path_factory.mktemp(extra or "base"), *filter(None, [extra])) for extra in ["", *EXTRAS]
    }


@pytest.fixture
def python(environments: dict[str, dict[str, str]], tmp_path: Path) -> Run:
    def run(extra: str, *words: object, **variables: str) -> Ran:
        command = [sys.executable, *map(str, words)]
        environment = {name: value for name, value in environments[extra].items() if name != "RAY_ADDRESS"} | variables
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)

    return run


@pytest.fixture
def curator(python: Run) -> Run:
    return lambda extra, *words, **variables: python(extra, "-m", "curator_pipelines", *words, **variables)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(12):
        pixels = np.random.default_rng(seed).integers(0, 255, (48, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}.png")
    return folder


def check(ran: Ran) -> str:
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def refused(ran: Ran, *words: str) -> None:
    assert ran.returncode == 2, ran.stderr
    assert "Traceback" not in ran.stderr
    last = ran.stderr.splitlines()[-1]
    assert last.startswith("curator: "), ran.stderr
    assert all(word in last for word in words), last


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("faiss", "cpu"), ("s3fs", "s3"), ("gcsfs", "gcs"), ("adlfs", "az"), ("lightly", "train"), ("pandas", "train"),
        ("pillow_heif", "heic"), ("webdataset", "demo"), ("skimage", "demo"),
    ],
)  # fmt: skip
def test_what_is_hidden(python: Run, module: str, extra: str) -> None:
    """Else the tests below would show nothing."""
    pytest.importorskip(module)
    assert f"No module named '{module}'" in python("", "-c", f"import {module}").stderr
    check(python(extra, "-c", f"import {module}"))


def test_what_only_the_demo_and_the_tests_write_with_is_not_in_the_base() -> None:
    assert "webdataset" not in brought_by()
    assert {"aiohttp", "requests"} <= brought_by()  # of fsspec[http]


def test_the_base_embeds_trains_and_tells_what_it_lacks(curator: Run, photos: Path, tmp_path: Path) -> None:
    words = ("--target", photos, "--arch", "timm:resnet18", "--image-size", 32, "--steps", 1, "--batch-size", 4)
    check(curator("", "train", *words, "--out", tmp_path / "trained", "--loader-workers", 0))
    out = tmp_path / "other"
    lacks = "'coreset-curator[train]'"
    refused(curator("", "train", *words, "--out", out, "--method", "byol"), "--method byol", "lightly", lacks)
    refused(curator("", "train", *words, "--out", out, "--log-to", "tensorboard"), "--log-to tensorboard", lacks)
    refused(curator("", "train", *words, "--out", out, "--address", "local"), "--address local", "pandas", lacks)
    refused(curator("", "train", *words, "--out", out, RAY_ADDRESS="local"), "--address local", "pandas", lacks)
    refused(curator("", "demo", "--out", out), "webdataset", "'coreset-curator[demo]'")
    refused(curator("", "index", "--out", out), "faiss", "'coreset-curator[cpu]'")
    for scheme, extra in (("s3", "s3"), ("gs", "gcs"), ("az", "az")):
        refused(curator("", "inspect", f"{scheme}://bucket/a.tar"), f"'coreset-curator[{extra}]'")
    assert not out.exists()


@pytest.mark.parametrize(
    ("url", "extra"), [("s3://b/a", "s3"), ("gs://b/a", "gcs"), ("abfs://b@c.dfs.core.windows.net/a", "az")]
)
def test_stores(python: Run, url: str, extra: str) -> None:
    program = f"from curator.io.filesystems import resolve; print(resolve({url!r})[1])"
    assert check(
        python(extra, "-c", program, AZURE_STORAGE_ANON="true", STORAGE_EMULATOR_HOST="http://127.0.0.1:9")
    ).endswith("a\n")


def test_heic(curator: Run, photos: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(Image.open(photos / "0.png")).save(photos / "phone.heic")
    assert json.loads(check(curator("heic", "inspect", photos, "--json")))["samples"] == 13


def test_the_demo_builds_its_data(python: Run, tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from curator_pipelines.jobs.demo.demo_data import build_demo_data;"
        f"print(build_demo_data(Path({str(tmp_path / 'demo')!r})).pool)"
    )
    assert "demo-{000000.." in check(python("demo", "-c", program))


def test_train_with_its_extra(curator: Run, photos: Path, tmp_path: Path) -> None:
    """BYOL on a Ray that is started here: lightly, and all that Ray Train imports."""
    words = ("--target", photos, "--arch", "timm:resnet18", "--image-size", 32, "--steps", 1, "--batch-size", 4)
    check(curator("train", "train", *words, "--out", tmp_path / "t", "--method", "byol", RAY_ADDRESS="local"))
    assert (tmp_path / "t" / "encoder.pt").exists()
