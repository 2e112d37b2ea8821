"""Anyone's own selector, encoder and method, as docs/extending.md writes them, in the place of built-in ones."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parent / "jobs"))

from jobs_for_tests import write_data

ROOT = Path(__file__).parents[2]
FILES = dict(re.findall(r"^```python (\w+\.py)\n(.*?)^```$", (ROOT / "docs" / "extending.md").read_text(), re.M | re.S))
# Without -P the working directory would be on the path, which for a console script it is not.
COMMAND = [sys.executable, "-P", "-c", "from curator_pipelines.cli.main import main; main()"]
ENTRY_POINTS = """
[curator.selectors]
near-mean = outside_my_selectors:NearMean
[curator.encoders]
filters = outside_my_encoders:load
[curator.methods]
agree = outside_my_methods:Agree
[curator.loggers]
lines = outside_my_loggers:Lines
"""


def curator(*words: object, cwd: Path, path: tuple[Path, ...] = (), code: int = 0) -> str:
    """Run the command as the console script does; what it said on stderr."""
    paths = [*map(str, path), str(ROOT), str(ROOT / "pipelines"), str(ROOT / "ssl")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run([*COMMAND, *map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_data(folder)
    return folder


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A working directory with the three files in it."""
    folder = tmp_path / "work"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder in which a distribution of three packages is installed, one for each file."""
    folder = tmp_path / "site"
    for name, text in FILES.items():
        package = folder / f"outside_{name.removesuffix('.py')}"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(text)
    info = folder / "outside-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


def select_words(data: Path, selector: str, encoder: str) -> list[object]:
    how = ["--device", "cpu", "--precision", "fp32", "--max-bad", "10%", "--manifest-only", "--budget", "5"]
    return [
        *("select", "--target", data / "target", "--pool", data / "pool-{0,2}.tar", "--out", "run", *how),
        *("--selector", selector, "--encoder", encoder),
    ]


def train_words(data: Path, method: str) -> list[object]:
    size = ["--arch", "timm:test_efficientnet", "--image-size", "32", "--batch-size", "4", "--steps", "2"]
    return [
        *("train", "--target", data / "target", "--out", "trained", *size, "--device", "cpu", "--loader-workers", "0"),
        *("--method", method, "--method-option", "columns=8"),
    ]


def selected(work: Path) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = pq.read_table(work / "run" / "selection" / "selected.parquet").to_pydict()
    return columns


def record(work: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((work / "run" / "selection" / "selection.json").read_text())
    return content


def assert_nearest_to_the_mean(work: Path) -> None:
    """What was chosen is what the docs' selector says, computed here from the stored vectors."""
    target = np.concatenate([np.load(path) for path in sorted((work / "run" / "target" / "img_emb").glob("*.npy"))])
    mean = target.astype(np.float64).mean(axis=0)
    scores = {}
    for part, path in enumerate(sorted((work / "run" / "pool" / "img_emb").glob("*.npy"))):
        values = (np.load(path) * mean).sum(axis=1).astype(np.float32)
        scores |= {part << 32 | row: float(value) for row, value in enumerate(values)}
    order = sorted(scores, key=lambda number: (-scores[number], number))[:5]
    columns = selected(work)
    assert columns["id"] == order
    assert columns["score"] == [scores[number] for number in order]
    assert set(columns["centroid"]) == set(columns["round"]) == {None}


@pytest.mark.slow
def test_installed_package(data: Path, site: Path, tmp_path: Path) -> None:
    words = select_words(data, "near-mean", "filters:8")
    curator(*words, cwd=tmp_path, path=(site,))
    assert_nearest_to_the_mean(tmp_path)
    assert record(tmp_path)["selector"] == "near-mean"
    identity = json.loads((tmp_path / "run" / "run.json").read_text())["identities"]["pool"]
    assert (identity["architecture"], identity["plugin"]["distribution"]) == ("filters:8", "outside")

    file = site / "outside_my_selectors" / "__init__.py"
    file.write_text(file.read_text().replace("(rows * mean)", "(rows * -mean)"))
    chosen = selected(tmp_path)["id"]
    # The encoder is of another package, so what is embedded stays.
    assert "nothing changed" not in curator(*words, cwd=tmp_path, path=(site,))
    assert selected(tmp_path)["id"] != chosen


@pytest.mark.slow
def test_files_of_the_working_directory(data: Path, work: Path) -> None:
    words = select_words(data, "my_selectors:NearMean", "my_encoders:load:8")
    curator(*words, cwd=work)
    assert_nearest_to_the_mean(work)
    chosen = selected(work)["id"]
    assert "nothing changed since the last selection" in curator(*words, cwd=work)

    file = work / "my_selectors.py"
    file.write_text(file.read_text().replace("(rows * mean)", "(rows * -mean)"))
    assert "nothing changed" not in curator(*words, cwd=work)
    assert selected(work)["id"] != chosen

    # The encoder's file is part of what the embeddings are made of.
    with (work / "my_encoders.py").open("a") as stream:
        stream.write("# another version\n")
    assert "is a different run: plugin was" in curator(*words, cwd=work, code=2)


def test_what_is_wrong_is_exit_2(data: Path, work: Path) -> None:
    words = select_words(data, "my_selectors:NearMean", "my_encoders:load")
    said = curator(*words, "--clusters", 3, cwd=work, code=2)
    assert "--clusters 3: the selector my_selectors:NearMean does not read this setting" in said
    assert "(near: random)" in curator(*select_words(data, "randon", "lite0"), cwd=work, code=2)
    said = curator(*select_words(data, "my_selectors:np", "lite0"), cwd=work, code=2)
    assert "this is no selector" in said


@pytest.fixture
def spied(work: Path) -> Path:
    """Notes, a file each, of the folders in which processes stand that import a plug-in."""
    notes = work / "notes"
    notes.mkdir()
    for name in ("my_encoders.py", "my_methods.py"):
        with (work / name).open("a") as stream:
            stream.write(f"import os\nwith open(f'{notes}/{name}-{{os.getpid()}}', 'w') as note:\n")
            stream.write("    note.write(os.getcwd())\n")
    return notes


def folders(notes: Path, name: str) -> set[str]:
    return {path.read_text() for path in notes.glob(f"{name}-*")}


@pytest.mark.slow
def test_select_on_ray(data: Path, work: Path, spied: Path, ray_cluster: Any) -> None:
    words = select_words(data, "my_selectors:NearMean", "my_encoders:load:8")
    curator(*words, "--address", ray_cluster.address, "--workers", 2, cwd=work)
    assert_nearest_to_the_mean(work)
    assert folders(spied, "my_encoders.py") - {str(work)}  # workers that started elsewhere


@pytest.mark.slow
def test_train_on_ray(data: Path, work: Path, spied: Path, ray_cluster: Any) -> None:
    words = train_words(data, "my_methods:Agree")
    curator(*words, "--nproc", 2, "--address", ray_cluster.address, cwd=work)
    assert (work / "trained" / "encoder.pt").exists()
    assert len(list(spied.glob("my_methods.py-*"))) == 3  # the command, and two processes
    assert folders(spied, "my_methods.py") - {str(work)}  # which started elsewhere


@pytest.mark.parametrize("installed", [True, False], ids=["installed", "file"])
@pytest.mark.slow
def test_train(installed: bool, data: Path, site: Path, work: Path) -> None:
    path, method, nproc = ((site,), "agree", 1) if installed else ((), "my_methods:Agree", 2)
    logger = "lines" if installed else "my_loggers:Lines"
    curator(*train_words(data, method), "--nproc", nproc, "--log-to", logger, cwd=work, path=path)
    assert (work / "trained" / "encoder.pt").exists()
    assert [line.split()[0] for line in (work / "losses.txt").read_text().splitlines()] == ["0", "1"]
