"""`curator compare` from its command line to its page, on runs made by the command line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curator_pipelines.cli.main import run

Command = Callable[..., Any]
ENCODER = ("--encoder", "timm:test_vit", "--weights", "random", "--precision", "fp32", "--no-report")


@pytest.fixture(scope="module")
def other(finished_data: Path) -> Path:
    """The images of the finished run again, by another selector and with a larger budget."""
    out = finished_data / "other"
    where = ["--target", finished_data / "target", "--pool", finished_data / "pool-{0..1}.tar", "--out", out]
    words = ["select", *where, *ENCODER, "--selector", "knn", "--budget", 5]
    assert run([str(word) for word in words]) == 0
    return out


@pytest.mark.slow
def test_two_selectors_as_text_and_page(curator: Command, finished_data: Path, other: Path, tmp_path: Path) -> None:
    ran = curator("compare", finished_data / "run", other, "--out", tmp_path / "page.html")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[:2] == [f"A           {finished_data}/run", f"B           {finished_data}/other"]
    assert any(line.split() == ["selector", "simcore", "knn"] for line in lines)
    assert any(line.split() == ["chosen", "3", "5"] for line in lines)
    assert any(line.startswith("A and B     ") and "Jaccard" in line for line in lines)
    assert any(line.startswith("coverage    A: of 5 target images ") for line in lines)
    assert "compare: matching samples" in ran.err
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


def test_json_and_the_page_where_one_stands(
    curator: Command, finished_data: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = curator("compare", finished_data / "run", other, "--json")
    assert ran.code == 0
    found = json.loads(ran.out)
    assert found["page"] == str(tmp_path / "compare.html") and (tmp_path / "compare.html").exists()
    (overlap,) = found["overlaps"]
    assert overlap["both"] + overlap["only_first"] == 3 and overlap["both"] + overlap["only_second"] == 5
    assert overlap["by_rank"][-1]["depth"] == 5


def test_two_targets_of_one_run(curator: Command, finished_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    targets = ["--target", f"a={finished_data}/target", "--target", f"b={finished_data}/pool-0.tar"]
    words = ["select", *targets, "--pool", finished_data / "pool-1.tar", "--out", out, *ENCODER, "--budget", 4]
    assert curator(*words).code == 0
    ran = curator("compare", out / "a", out / "b", "--out", tmp_path / "page.html")
    assert ran.code == 0 and "made for different targets" in ran.out
    ran = curator("compare", out, out / "b")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines()[-1] == (
        f"curator: RUN_A RUN_B... {out}: it has 2 targets: name one: {out}/a or {out}/b"
    )


def test_mistakes_are_one_line(curator: Command, finished_data: Path, other: Path, tmp_path: Path) -> None:
    one = finished_data / "run"
    shutil.copytree(other, tmp_path / "cut")
    (tmp_path / "cut/selection/selection.json").unlink()
    for words, message in (
        ([one], "two to 6 selections can be compared"),
        ([one, one], "it is named twice"),
        ([one, tmp_path], "no run directory: it has no run.json"),
        ([one, tmp_path / "cut"], "holds no finished selection"),
        ([one, other, "--label", "class"], "it is cls, json:FIELD, csv:FILE or folder"),
        ([one, other, "--label", "cls"], "--label cls: no image of the target of"),
        ([one, other, "--out", one / "run.json"], "the page is a file that ends with .html"),
    ):
        ran = curator("compare", *words)
        assert ran.code == 2 and ran.out == "" and message in ran.err.splitlines()[-1], words
        assert sum(line.startswith("curator:") for line in ran.err.splitlines()) == 1
    assert curator("compare").code == 2
