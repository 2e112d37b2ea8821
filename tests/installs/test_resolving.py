"""curator can be installed beside other packages of this trade, on every Python. Asks the package index."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 900
UNREACHABLE = ("Could not find a version", "Max retries", "NewConnectionError", "Connection", "timed out")

pytestmark = pytest.mark.slow


def resolve(report: Path, python: str, *requirements: str) -> dict[str, str]:
    """Distribution -> version that pip would install; nothing is installed.

    pip reads markers of the Python that runs it, and wheels and `Requires-Python` of the one that is asked for.
    """
    words = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--ignore-installed",
        "--quiet",
        "--report",
        str(report),
    ]
    other = ["--python-version", python, "--only-binary=:all:", "--target", str(report.parent / "nowhere")]
    command = [*words, *other, *requirements]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    if ran.returncode and "ResolutionImpossible" not in ran.stderr and any(why in ran.stderr for why in UNREACHABLE):
        pytest.skip(f"the package index is out of reach: {ran.stderr.strip().splitlines()[-1]}")
    assert ran.returncode == 0, ran.stderr
    found = json.loads(report.read_text())["install"]
    return {item["metadata"]["name"].lower().replace("_", "-"): item["metadata"]["version"] for item in found}


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_every_python(tmp_path: Path, python: str) -> None:
    found = resolve(tmp_path / "report.json", python, f"{ROOT}[cpu,s3,gcs,az,heic,train]")
    assert {"coreset-curator", "torch", "ray", "faiss-cpu", "lightly"} <= set(found)


@pytest.mark.parametrize("python", ["3.11", "3.14"])
@pytest.mark.parametrize(
    ("other", "least"),
    [
        ("open_clip_torch[training]", "3.2"),
        ("img2dataset", "1.45"),
        ("lightly", "1.5"),
        ("timm", "1.0.20"),
        ("datasets", "3"),
    ],
)
def test_beside(tmp_path: Path, python: str, other: str, least: str) -> None:
    """With a version of today: pip would also go back to one of years ago that asks for nothing."""
    found = resolve(tmp_path / "report.json", python, str(ROOT), f"{other}>={least}")
    assert {"coreset-curator", other.partition("[")[0].replace("_", "-")} <= set(found)
