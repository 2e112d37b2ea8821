import os
import subprocess
import sys
from pathlib import Path

import pytest

from curator_pipelines.cli.main import COMMANDS, run

ROOT = Path(__file__).parents[3]


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)


def test_a_bare_call_is_a_call_for_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    assert "Commands:" in capsys.readouterr().out


@pytest.mark.parametrize("how", ["flag", "environment", ""])
def test_where_an_error_arose_is_shown_to_who_asks(
    how: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "environment":
        monkeypatch.setenv("CURATOR_DEBUG", "1")
    assert run([*(["--debug"] if how == "flag" else []), "inspect", "no-such.tar"]) == 2
    *trace, last = capsys.readouterr().err.splitlines()
    assert last.startswith("curator: URLS...: no such file: ")
    assert ("Traceback (most recent call last):" in trace) == bool(how)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    assert "Usage: curator " + name in capsys.readouterr().out


def test_the_reference_is_what_help_says() -> None:
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import write_cli_reference  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)
    assert write_cli_reference.REFERENCE.read_text() == write_cli_reference.render(), "run `make format`"


def test_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["selct"]) == 2
    assert "did you mean 'select'?" in capsys.readouterr().err


def test_an_unknown_flag_is_exit_2_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["select", "--budgett", "5"]) == 2
    error = capsys.readouterr().err
    assert "--budgett" in error
    assert error.count("\n") == 1


def imported_by(code: str) -> set[str]:
    """Top-level modules in a fresh interpreter after running some code."""
    script = f"{code}\nimport sys\nprint(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "pipelines", ROOT / "ssl")))}
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    return set(result.stdout.split("\n")[-2].split())


def test_importing_the_packages_is_cheap() -> None:
    heavy = {"torch", "ray", "faiss", "pyarrow", "sklearn", "timm", "open_clip"}
    assert not imported_by("import curator, curator_ssl, curator_pipelines.cli.main") & heavy


def test_help_loads_nothing_heavy() -> None:
    code = "from curator_pipelines.cli.main import run\nrun(['--help'])"
    assert not imported_by(code) & {"torch", "ray", "faiss", "pyarrow", "pydantic", "numpy", "rich"}


def test_the_line_runs_without_ray_and_faiss() -> None:
    code = "import curator_pipelines.jobs.select.select_run, curator_pipelines.jobs.demo.demo_run"
    assert not imported_by(code) & {"ray", "faiss"}


def test_nothing_shadows_the_standard_library() -> None:
    assert not (ROOT / "ssl" / "__init__.py").exists()
    assert not (ROOT / "pipelines" / "__init__.py").exists()
    assert not list((ROOT / "tests").rglob("__init__.py"))
    imported_by(f"import os\nos.chdir({str(ROOT)!r})\nimport asyncio, ssl\nassert ssl.SSLContext")
