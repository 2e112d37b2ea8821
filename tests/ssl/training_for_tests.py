"""What the tests of the trainer share: small shards, commands, their losses."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

# Seconds for anything that waits for another process.
PATIENCE = 300
ROOT = Path(__file__).parents[2]


def picture(seed: int, side: int = 40) -> bytes:
    """A PNG with some structure."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((side, side + seed % 7), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(path: Path, images: dict[str, bytes]) -> None:
    """One sample an image, each with a caption."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in images.items():
            for member, content in ((name, data), (name.partition(".")[0] + ".txt", b"caption")):
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def train_command(out: Path, target: list[str], *words: object) -> list[str]:
    """`curator train` of a small network whose norms do not depend on the batch (LayerNorm)."""
    small = ["--arch", "test_convnext", "--image-size", "32", "--batch-size", "8", "--device", "cpu", "--lr", "0.5"]
    run = [sys.executable, "-m", "curator_pipelines", "train", "--target", *target, "--out", str(out), *small]
    return [*run, "--loader-workers", "0", *map(str, words)]


def run_command(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT)


def metrics(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def losses(out: Path) -> list[float]:
    lines = metrics(out)
    assert [line["step"] for line in lines] == list(range(len(lines)))
    return [line["loss"] for line in lines]


class KeptReports:
    """A reporter that keeps everything."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.warnings: list[str] = []
        self.steps: list[int] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def report_step(self, step: int, steps: int, loss: float) -> None:
        self.steps.append(step)
