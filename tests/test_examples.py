"""What docstrings and README show is true."""

import contextlib
import doctest
import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "pipelines" / "jobs"))

from jobs_for_tests import picture, tar_bytes

ROOT = Path(__file__).parents[1]
SOURCES = [
    (path, root)
    for root in (ROOT, ROOT / "pipelines", ROOT / "ssl")
    for package in ("curator", "curator_pipelines", "curator_ssl")
    for path in sorted((root / package).rglob("*.py"))
    if ">>>" in path.read_text()
]


@pytest.mark.parametrize("name", [".".join(path.relative_to(root).with_suffix("").parts) for path, root in SOURCES])
def test_docstrings(name: str) -> None:
    module = importlib.import_module(name)
    tests = doctest.DocTestFinder().find(module)
    # Functions with the signature of a settings model, which the finder takes for another module's.
    functions = [value for value in vars(module).values() if hasattr(value, "__signature__")]
    parser = doctest.DocTestParser()
    tests += [parser.get_doctest(function.__doc__, {}, function.__name__, None, 0) for function in functions]
    runner = doctest.DocTestRunner()
    for test in tests:
        runner.run(test)
    assert runner.tries
    assert not runner.failures


@pytest.mark.slow
def test_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python blocks, one after another in one process, over data made here."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "web").mkdir()
    for number in range(4):
        (tmp_path / "photos" / f"{number}.png").write_bytes(picture(number))
    for number in range(42):
        entries = [(f"{index}.png", picture(100 + 10 * number + index)) for index in range(2)]
        (tmp_path / "web" / f"{number:05d}.tar").write_bytes(tar_bytes(entries))
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    names = {"my_vectors": rng.normal(size=(50, 16)), "web_vectors": rng.normal(size=(900, 16))}

    def blocks(page: str) -> list[str]:
        return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)

    reading, selecting = blocks("README.md")
    # Above the section on Python the shards are there already.
    for block in (selecting, *blocks("docs/python.md"), reading):
        with contextlib.redirect_stdout(None):
            exec(compile(block, "README.md", "exec"), names)
