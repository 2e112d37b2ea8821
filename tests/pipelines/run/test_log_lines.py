"""Log lines: for people, and as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from curator_pipelines.run import Reporter
from curator_pipelines.run.log_lines import LogLines, log_lines

HOSTILE = "key\x1b[2J\u202e https://me:SECRET@h/a.tar?jwt=SECRET"


@pytest.fixture
def as_json() -> Iterator[None]:
    log_lines.format, log_lines.run = "json", "5f0c1a2b"
    yield
    log_lines.format, log_lines.run = "text", ""


def test_a_line_of_text_has_time_level_and_run() -> None:
    line = LogLines(run="5f0c1a2b").line(HOSTILE, "WARNING")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ WARNING 5f0c1a2b key\\x1b\[2J\\u202e https://h/a\.tar", line)
    assert LogLines().line("hello", dated=False) == "hello"


def test_a_line_of_json(as_json: None) -> None:
    record = json.loads(log_lines.line(HOSTILE + "\nmore", dated=False))
    assert record.pop("time").endswith("Z")
    assert record == {
        "level": "INFO",
        "run": "5f0c1a2b",
        "message": "key\\x1b[2J\\u202e https://h/a.tar\nmore",
    }


def test_everything_that_a_reporter_says_is_json(as_json: None, capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter() as reporter, reporter.stage("pool", 2, "samples") as progress:
        progress({"samples": 2})
        reporter.say("hello [bold]:car:")
        reporter.warn("careful")
    records = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(record["level"], record["message"]) for record in records[:2]] == [
        ("INFO", "hello [bold]:car:"),
        ("WARNING", "careful"),
    ]
    assert records[2]["message"].startswith("pool: 2 of 2 samples")
