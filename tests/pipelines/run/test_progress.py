"""What the reporter prints, and that a quiet one prints nothing."""

import json
import re
import time

import pytest

from curator.io import owned, storage
from curator_pipelines.run.progress import Reporter, StageProgress
from curator_pipelines.run.progress_file import read_progress
from curator_pipelines.run.run_watch import recorded


def run_a_stage(reporter: Reporter) -> StageProgress:
    with reporter, reporter.stage("pool", 10, "samples") as progress:
        progress({"samples": 10, "bad": 1})
        reporter.warn("shards are small")
        reporter.warn("shards are small")
        reporter.say("a line")
    return progress


def test_a_reporter_prints_plain_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    run_a_stage(Reporter())

    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("warning: shards are small") == 1
    assert "a line\n" in err
    assert "pool: 10 of 10 samples" in err
    assert "\x1b" not in err
    # In a log one wants to know when.
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", line) for line in err.splitlines())


def test_rows_chosen_are_told_as_the_choice_goes_on() -> None:
    with Reporter(quiet=True) as reporter, reporter.stage("select", 40, "rows") as progress:
        progress({"rows": 40})
        progress({"chosen": 1200})
        assert progress.end_text().endswith(", 1,200 chosen")
        progress({"chosen": -1200})
        assert "chosen" not in progress.text()


@pytest.mark.parametrize("colour", [None, "1"])
def test_a_quiet_reporter_prints_nothing_and_keeps_the_warnings(
    colour: str | None, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if colour:
        monkeypatch.setenv("FORCE_COLOR", colour)  # makes rich believe in a terminal
    reporter = Reporter(quiet=True)

    progress = run_a_stage(reporter)

    assert capfd.readouterr() == ("", "")
    assert reporter.warnings == ["shards are small"]
    assert (progress.done, progress.bad) == (10, 1)


def test_a_quiet_reporter_still_tells_its_listener(tmp_path: object) -> None:
    reporter = Reporter(quiet=True)
    seen = []

    with (
        owned(str(tmp_path)) as owner,
        recorded(reporter, str(tmp_path), owner),
        reporter.stage("pool", 2, "samples") as progress,
    ):
        progress({"samples": 1})
        seen.append(read_progress(str(tmp_path)))

    assert seen[0] is not None
    assert (seen[0]["stage"], seen[0]["unit"], seen[0]["total"]) == ("pool", "samples", 2)
    assert json.loads(json.dumps(seen)) == seen
    assert not storage.exists(storage.join(str(tmp_path), "progress.json"))


def test_a_line_says_how_long_the_stage_and_the_run_have_taken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curator_pipelines.run.progress.LINE_EVERY", -1.0)

    with Reporter(started=time.monotonic() - 3600) as reporter, reporter.stage("pool", 1000, "samples") as progress:
        progress({"samples": 16})

    first, last = capsys.readouterr().err.splitlines()
    # After one batch nobody knows how fast it goes.
    assert re.search(r"pool: 16 of 1,000 samples, 0\.\d s \(run 1 h 0 min\)$", first)
    assert re.search(r"pool: 16 of 1,000 samples, [\d,.]+/s, 0\.\d s$", last)
