from pathlib import Path

import pytest

from curator_pipelines.cli.main import run
from curator_pipelines.cli.options import join_words


@pytest.mark.parametrize(
    ("given", "joined"),
    [
        (["--pool", "a.tar", "b.tar", "c.tar", "--out", "o"], ["--pool", "a.tar::b.tar::c.tar", "--out", "o"]),
        (["--target", "x", "--pool", "a", "b"], ["--target", "x", "--pool", "a::b"]),
        (["--pool=a", "b", "--seed", "3"], ["--pool=a::b", "--seed", "3"]),
        (["--out", "o", "stray"], ["--out", "o", "stray"]),
        (["--pool"], ["--pool"]),
    ],
)
def test_words_after_a_url_flag_belong_to_it(given: list[str], joined: list[str]) -> None:
    assert join_words(given, ["--target", "--pool"]) == joined


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(list(arguments)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


def test_a_misspelt_key_names_its_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text("clustres: 3\n")
    assert "did you mean 'clusters'?" in fails(capsys, "select", "--config", str(tmp_path / "c.yaml"))


def test_a_config_that_is_no_mapping(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text("- 3\n")
    assert "one 'flag: value' a line" in fails(capsys, "select", "--config", str(tmp_path / "c.yaml"))


def test_a_config_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--config nowhere.yaml" in fails(capsys, "select", "--config", "nowhere.yaml")


def test_flags_win_over_the_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text("target: nowhere.tar\npool: [p.tar]\nbudget: 0.05\nout: o\n")
    config = ["--config", str(tmp_path / "c.yaml")]
    assert "--budget 0.05" in fails(capsys, "select", *config)
    assert "nowhere.tar" in fails(capsys, "select", *config, "--budget", "5", "--encoder", "lite0")
    assert "elsewhere.tar" in fails(
        capsys, "select", *config, "--budget", "5", "--encoder", "lite0", "--target", "elsewhere.tar"
    )
