"""The report of finished runs: what it says, and that its pictures are those of its samples."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from jobs_for_tests import CountsTasks, picture, tar_bytes, write_ready
from page_for_tests import CLOSE, Parsed, bytes_of, difference

from curator.errors import InputError
from curator.settings import build
from curator_pipelines.config import ReportConfig
from curator_pipelines.jobs.report import line
from curator_pipelines.jobs.report.charts import score_curve
from curator_pipelines.jobs.report.report_run import ReportResult, run_report
from curator_pipelines.jobs.report.target_record import read_target
from curator_pipelines.run import RunDirectory
from curator_pipelines.run.progress import Reporter

Run = Callable[..., Any]
Patch = pytest.MonkeyPatch
SECTIONS = ["headline", "line", "curve", "coverage", "map", "sources", "skipped", "left-out", "facts"]


def report(out: Path, **settings: Any) -> ReportResult:
    return run_report(build(ReportConfig, {"out": str(out)} | settings), Reporter(quiet=True))


def parsed(out: Path) -> Parsed:
    return Parsed((out / "report.html").read_text())


@pytest.fixture(scope="module")
def reported(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference run with its report; read only."""
    out = tmp_path_factory.mktemp("reported") / "run"
    shutil.copytree(reference, out)
    report(out)
    return out


def test_every_section_is_there_and_its_numbers_are_those_of_the_selection(reported: Path) -> None:
    page = parsed(reported)
    assert page.sections == SECTIONS
    text = " ".join(" ".join(page.text).split())
    record = json.loads((reported / "selection/selection.json").read_text())
    assert f"{record['count']} of {record['candidates']} images chosen" in text
    assert record["count"] + record["skipped"] + record["not_reached"] == record["candidates"]
    for name in ("count", "skipped", "not_reached", "candidates"):
        assert str(record[name]) in text
    assert "the budget was reached" in text
    assert "By PCA" in text and "pool-1.tar" in text and "decode_error" in text
    assert f"curator select --target {json.loads((reported / 'run.json').read_text())['config']['target'][0]}" in text


def test_nothing_is_loaded_from_elsewhere(reported: Path) -> None:
    html = (reported / "report.html").read_text()
    page = Parsed(html)
    assert not {"link", "iframe", "object"} & set(page.tags) and page.tags.count("script") == 2
    assert all(url.startswith("data:image/jpeg;base64,") for url in page.images.values())
    assert "default-src 'none'" in html and len(html) < 10_000_000


def test_the_strips_are_in_the_order_of_choice(reported: Path) -> None:
    strips = parsed(reported).strips
    chosen = pq.read_table(reported / "selection/selected.parquet")["id"].to_pylist()
    following = pq.read_table(reported / "selection/next.parquet")["id"].to_pylist()
    assert strips["The first chosen"] == [f"pool-{row}" for row in chosen[:24]]
    assert strips["The first not chosen"] == [f"pool-{row}" for row in following[:24]]
    assert len(strips["Your images"]) == 9 and len(strips["The pool as it is"]) == 24


def test_the_curve_counts_the_images_chosen_so_far(reference: Path) -> None:
    target = read_target(RunDirectory(str(reference)).target_directory())
    rounds = pq.read_table(reference / "selection/selected.parquet")["round"].to_pylist()
    chosen, means, _ = score_curve(target)
    assert chosen.tolist() == [sum(turn <= last for turn in rounds) for last in range(1, max(rounds) + 1)]
    assert chosen[-1] == target.record["count"] and len(chosen) > 2
    assert means.tolist() == pq.read_table(reference / "selection/rounds.parquet")["mean_score"].to_pylist()
    places, scores, _ = score_curve(target, least_rounds=100)
    assert places.tolist() == list(range(1, 22)) and scores[0] == target.selection.scores[0]


def test_a_long_selection_has_last_ones(run: Run, settings: dict[str, Any], tmp_path: Path) -> None:
    run(out=str(tmp_path / "run"), report=True, **settings | {"budget": "40"})
    strips = parsed(tmp_path / "run").strips
    chosen = pq.read_table(tmp_path / "run/selection/selected.parquet")["id"].to_pylist()
    assert strips["The last chosen"] == [f"pool-{row}" for row in chosen[24:]]


def test_the_curve_is_over_all_images_chosen_so_far(run: Run, settings: dict[str, Any], tmp_path: Path) -> None:
    run(out=str(tmp_path / "run"), **settings | {"budget": "40", "clusters": 3})
    directory = RunDirectory(str(tmp_path / "run")).target_directory()
    taken = pq.read_table(tmp_path / "run/selection/rounds.parquet")["chosen"].to_pylist()

    x, _, _ = score_curve(read_target(directory))

    assert len(taken) > 3 and sum(taken) == 40
    assert x.tolist() == [sum(taken[: number + 1]) for number in range(len(taken))]


def test_each_thumbnail_is_its_source_and_no_other(reported: Path) -> None:
    images = parsed(reported).images
    sources = bytes_of(reported, list(images))
    assert len(images) > 50 and images.keys() == sources.keys()
    assert all(difference(url, sources[name]) < CLOSE for name, url in images.items())
    # The check would notice a wrong order.
    names = list(images)
    moved = [difference(images[name], sources[other]) for name, other in pairwise(names)]
    assert np.mean(np.array(moved) > CLOSE) > 0.9


def test_a_key_is_text_and_never_markup(run: Run, settings: dict[str, Any], tmp_path: Path) -> None:
    key = "<script>hit()<!--\"'>{{7*7}}"
    (tmp_path / "pool.tar").write_bytes(
        tar_bytes([(f"{key}{number}.png", picture(number)) for number in range(30)] + [(f"{key}bad.png", b"none")])
    )
    given = settings | {"pool": [str(tmp_path / "pool.tar")], "budget": "9", "deny": None, "max_bad": 0.5}
    run(out=str(tmp_path / "run"), report=True, **given)
    page = parsed(tmp_path / "run")
    assert page.tags.count("script") == 2
    assert any(key in caption for caption in page.captions)
    assert any(f"{key}bad" in text for text in page.text)


def test_a_pool_that_is_gone_is_told_and_not_grey(
    run: Run, settings: dict[str, Any], own_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    own = settings | {"pool": [str(own_data / "pool-{0..3}.tar")], "target": [str(own_data / "target")]}
    run(out=str(out), **own)
    (own_data / "pool-1.tar").rename(own_data / "moved.tar")
    # Of the same size, and something else.
    data = bytearray((own_data / "pool-3.tar").read_bytes())
    data[600:] = bytes(len(data) - 600)
    (own_data / "pool-3.tar").write_bytes(data)

    result = report(out)

    page = parsed(out)
    reasons = dict(result.missing)
    assert reasons["its source is not there any more"] and reasons["its source changed since it was embedded"]
    assert sum("not shown: its source is not there any more" in caption for caption in page.captions)
    assert page.images and "not shown   " in result.to_text()


def test_without_images_it_is_still_a_report(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    target = write_ready(tmp_path / "t", [rng.standard_normal((20, 8)).astype(np.float32)])
    pool = write_ready(tmp_path / "p", [rng.standard_normal((300, 8)).astype(np.float32)])
    out = tmp_path / "run"
    run(out=str(out), target=[target], pool=[pool], budget="30", manifest_only=True, report=True)
    page = parsed(out)
    assert page.sections == SECTIONS and not page.images
    assert any("it came as an embedding" in text for text in page.text)


@pytest.mark.parametrize("selector", ["random", "knn", "csls"])
def test_other_selectors(run: Run, settings: dict[str, Any], tmp_path: Path, selector: str) -> None:
    given = {name: value for name, value in settings.items() if name != "clusters"}
    run(out=str(tmp_path / "run"), report=True, selector=selector, **given)
    page = parsed(tmp_path / "run")
    assert page.sections == SECTIONS and page.strips["The first chosen"]


def test_skipped_pairs_are_shown(run: Run, settings: dict[str, Any], data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(out=str(out), report=True, exclude=[str(data / "target")], exclude_above=0.5, dedup=0.99, **settings)
    page = parsed(out)
    skipped = pq.read_table(out / "selection/skipped.parquet").to_pylist()
    text = " ".join(page.text)
    for words, reason in (("near to an evaluation image", "near_evaluation"), ("denied by your list", "denied")):
        count = sum(row["reason"] == reason for row in skipped)
        assert bool(count) == (f"{count} {words}" in text)
    assert any(name.startswith("exclude-") for name in page.images) or not any(
        row["reason"] == "near_evaluation" for row in skipped
    )


def test_several_targets_have_a_page_each_and_one_together(
    run: Run, settings: dict[str, Any], data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    two = settings | {"target": [f"a={data}/target", f"b={data}/pool-0.tar"], "skip_own": False, "max_bad": 0.5}
    result = run(out=str(out), report=True, **two)
    assert result.reports == [f"{out}/report.html", f"{out}/a/report.html", f"{out}/b/report.html"]
    assert all(parsed(out / name).sections == SECTIONS for name in ("a", "b"))
    # Each page has the warnings of its own target.
    texts = {name: map(str.strip, parsed(out / name).text) for name in ("a", "b")}
    told = {name: [text for text in texts[name] if text.startswith(("a: ", "b: "))] for name in texts}
    assert told["a"] or told["b"]
    assert all(text.startswith(f"{name}: ") for name in told for text in told[name])
    assert result.sheets == [f"{out}/a/contact_sheet.jpg", f"{out}/b/contact_sheet.jpg"]
    assert all(f"sheet       {url}" in result.to_text() and Path(url).exists() for url in result.sheets)
    page = parsed(out)
    assert page.sections == ["targets", "overlaps", "facts"]
    assert str(result.overlaps[0].both) in page.text


def test_by_a_field_of_sidecars(run: Run, settings: dict[str, Any], tmp_path: Path) -> None:
    entries = [
        entry
        for number in range(30)
        for entry in [
            (f"{number}.png", picture(number)),
            (f"{number}.json", json.dumps({"camera": f"camera {number % 2}"}).encode()),
        ]
    ]
    (tmp_path / "pool.tar").write_bytes(tar_bytes(entries))
    given = settings | {"pool": [str(tmp_path / "pool.tar")], "budget": "10", "deny": None, "skip_own": False}
    run(out=str(tmp_path / "run"), **given)
    report(tmp_path / "run", report_by="camera")
    text = " ".join(parsed(tmp_path / "run").text)
    assert "By camera: 10 chosen, 30 of the pool" in text and "camera 1" in text and "50.0%" in text


def test_a_report_that_fails_is_a_warning_and_without_it_there_is_none(
    run: Run, settings: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run(out=str(out), **settings)
    assert not (out / "report.html").exists() and not (out / "contact_sheet.jpg").exists()
    (out / "report.html").mkdir()
    (out / "report.html" / "in the way").touch()
    counted = CountsTasks()
    result = run(out=str(out), report=True, **settings)
    assert any("the report was not written" in warning for warning in result.warnings) and not counted.payloads
    assert result.reports == []
    assert any("the report was not written" in text for text in json.loads((out / "run.json").read_text())["warnings"])


def test_the_contact_sheet_shows_the_line_of_the_page(reference: Path, tmp_path: Path, monkeypatch: Patch) -> None:
    drawn: list[Any] = []
    draw = line.write_sheet
    monkeypatch.setattr(line, "write_sheet", lambda *arguments: drawn.append(arguments) or draw(*arguments))
    shutil.copytree(reference, tmp_path / "run")
    result = report(tmp_path / "run")
    page = parsed(tmp_path / "run")
    _, title, legend, bands = drawn[0]
    strips = {strip: names for strip, names in page.strips.items() if strip}
    assert [band.title for band in bands] == [*strips] and len(strips) >= 4
    assert [len(band.tiles) for band in bands] == [len(names) for names in strips.values()]
    assert "Chosen: " in title and "score" in legend and str(tmp_path) not in title + legend
    for band, names in zip(bands, strips.values(), strict=True):
        for tile, name in zip(band.tiles, names, strict=True):
            assert tile.image and difference(page.images[name], tile.image) < CLOSE
    assert result.sheets == [f"{tmp_path}/run/contact_sheet.jpg"]
    first = (tmp_path / "run/contact_sheet.jpg").read_bytes()
    report(tmp_path / "run")
    assert (tmp_path / "run/contact_sheet.jpg").read_bytes() == first


def test_a_contact_sheet_that_fails_is_a_warning_and_the_page_stands(
    run: Run, settings: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    (out / "contact_sheet.jpg" / "in the way").mkdir(parents=True)
    result = run(out=str(out), report=True, **settings)
    assert any("the contact sheet was not written" in warning for warning in result.warnings)
    assert result.sheets == [] and result.reports == [f"{out}/report.html"] and parsed(out).sections == SECTIONS
    shutil.rmtree(out / "contact_sheet.jpg")
    again = run(out=str(out), report=True, **settings)
    assert again.sheets == [f"{out}/contact_sheet.jpg"] and (out / "contact_sheet.jpg").is_file()


def test_what_shows_the_same_is_not_written_again(run: Run, settings: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "run"

    def written(**changed: Any) -> int:
        run(out=str(out), report=True, **settings | changed)
        return (out / "report.html").stat().st_mtime_ns

    first = written()
    assert written() == first
    assert written(budget="20") > first


def test_no_run_is_one_line(tmp_path: Path, reference: Path) -> None:
    with pytest.raises(InputError, match="no run directory"):
        report(tmp_path)
    shutil.copytree(reference, tmp_path / "run")
    (tmp_path / "run/selection/selection.json").unlink()
    with pytest.raises(InputError, match="no finished selection"):
        report(tmp_path / "run")


def test_secrets_of_urls_stay_out(run: Run, served: dict[str, Any], tmp_path: Path) -> None:
    signed = served | {"pool": [f"{url}?X-Amz-Signature=verysecret" for url in served["pool"]]}
    run(out=str(tmp_path / "run"), report=True, **signed)
    html = (tmp_path / "run/report.html").read_text()
    assert "verysecret" not in html and "pool-1.tar" in html
