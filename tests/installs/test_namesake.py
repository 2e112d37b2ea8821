"""Another program of the same name in the same folder is told in one line, whichever was installed last."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def install_namesake(site: Path, overwrites: bool) -> None:
    """What `pip install elasticsearch-curator` leaves: its own files in a package `curator`."""
    (site / "curator").mkdir(exist_ok=True)
    name = site / "curator" / "__init__.py"
    if overwrites or not name.exists():
        name.write_text("__version__ = '8'\n")
    (site / "curator" / "indexlist.py").write_text("")
    info = site / "elasticsearch_curator-8.0.21.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elasticsearch-curator\nVersion: 8.0.21\n")
    (info / "RECORD").write_text("curator/__init__.py,,\ncurator/indexlist.py,,\n")


def run_from(*folders: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}
    words = [sys.executable, "-m", "curator_pipelines", "--version"]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False, cwd=folders[0])


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for package in ("curator", "pipelines/curator_pipelines", "ssl/curator_ssl"):
        shutil.copytree(ROOT / package, tmp_path / Path(package).name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize("overwrites", [True, False])
def test_mixed(site: Path, overwrites: bool) -> None:
    install_namesake(site, overwrites)
    ran = run_from(site)
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert "elasticsearch-curator is installed into the same folder" in ran.stderr
    assert "uvx coreset-curator" in ran.stderr


def test_beside_each_other(site: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """In different folders, the first that is found is whole."""
    other = tmp_path_factory.mktemp("other")
    install_namesake(other, overwrites=True)
    assert run_from(site, other).returncode == 0
    ran = run_from(other, site)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)
