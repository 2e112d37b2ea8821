"""Text of others (keys, names, URLs) on the terminal: none of it commands the terminal, none of it is secret."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from range_server import RangeServer
from rich.console import Console

from curator_pipelines.cli.tell import tell
from curator_pipelines.run import Reporter

Command = Callable[..., Any]

HOSTILE = "key\x1b[2J\x1b]0;owned\x07\x9b31m\u202e"
ESCAPED = "key\\x1b[2J\\x1b]0;owned\\x07\\x9b31m\\u202e"


def is_harmless(text: str) -> bool:
    return not any(char in text for char in "\x1b\x07\x9b\u202e")


def test_tell(capsys: pytest.CaptureFixture[str]) -> None:
    tell(HOSTILE)
    tell("bytes of a name that are no text: \udcff", err=False)
    tell('{"out": "s3://me:SECRET@bucket/run"}', err=False)
    captured = capsys.readouterr()
    assert captured.err == ESCAPED + "\n"
    assert captured.out == 'bytes of a name that are no text: \\udcff\n{"out": "s3://bucket/run"}\n'


def test_what_pillow_logs_of_a_damaged_image_is_not_shown() -> None:
    lines = (
        "import logging; from curator_pipelines.cli.tell import show_logs; show_logs()",
        "logging.getLogger('PIL.TiffImagePlugin').error('More samples per pixel than can be decoded')",
        "logging.getLogger('another.library').error('something is wrong')",
    )
    told = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert told.stderr.count("\n") == 1 and told.stderr.endswith("something is wrong\n")


def test_the_reporter(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter() as reporter, reporter.stage("pool", 2, "samples") as progress:
        progress.note = HOSTILE
        reporter.say(f"{HOSTILE} [bold]:car: https://me:SECRET@h/a?jwt=SECRET")
        reporter.warn(f"{HOSTILE} https://h/a?jwt=SECRET")
    text = capsys.readouterr().err
    assert is_harmless(text)
    assert f"{ESCAPED} [bold]:car: https://h/a\n" in text
    assert f"warning: {ESCAPED} https://h/a\n" in text
    assert reporter.warnings == [f"{HOSTILE} https://h/a"]


def test_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    reporter, shown = Reporter(), io.StringIO()
    reporter.console = Console(file=shown, force_terminal=True, width=200, color_system=None)
    with reporter, reporter.stage("pool", 2, "samples") as progress:
        progress.note = "\x1b]0;owned\x07[bold]"
        progress({"samples": 1})
    assert "\x1b]0;owned" not in shown.getvalue()
    assert "\\x1b]0;owned\\x07[bold]" in shown.getvalue()


def test_logs_and_warnings_of_libraries() -> None:
    program = (
        "import logging, warnings; from curator_pipelines.cli.tell import show_logs; show_logs();"
        f"logging.getLogger('x').warning({HOSTILE + ' https://h/a?jwt=SECRET'!r}); warnings.warn({HOSTILE!r})"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert is_harmless(ran.stderr)
    assert "SECRET" not in ran.stderr
    assert ran.stderr.count(ESCAPED) == 2
    assert logging.getLogger().level >= logging.WARNING


def test_an_error_about_a_hostile_name(curator: Command) -> None:
    ran = curator("inspect", f"/nowhere/{HOSTILE}.tar")
    assert ran.code == 2
    assert ESCAPED in ran.err
    assert is_harmless(ran.err)
    ran = curator("select", f"--{HOSTILE}")
    assert (ran.code, is_harmless(ran.err)) == (2, True)


def test_the_address_of_a_deny_list_keeps_its_secrets(select: Command, data: Path, web: RangeServer) -> None:
    web.files["/deny.txt"] = "".join(f"{number:03d}\n" for number in range(4)).encode() + b"nobody\n"
    url = f"{web.url}/deny.txt?X-Amz-Signature=SECRET&api_key=SECRET".replace("http://", "http://me:SECRET@")
    ran = select("--budget", "8", "--deny", url, "--manifest-only")
    assert ran.code == 0, ran.err
    assert "SECRET" not in ran.out + ran.err
    assert "match no sample: nobody" in ran.err
    for path in (path for path in (data / "run").rglob("*") if path.is_file()):
        assert b"SECRET" not in path.read_bytes(), path
    skipped = pq.read_table(data / "run" / "selection" / "skipped.parquet")
    assert f"{web.url}/deny.txt" in str(skipped.to_pylist())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://AKIAID:hunter2@bucket/a.tar", "hold no credentials"),
        ("s3://AKIAID:hun/ter2@bucket/a.tar", "hold no credentials"),
        ("gs://me:hunter2@bucket/a.tar", "hold no credentials"),
        ("s3://under_score!!/a.tar", "bucket"),
    ],
)
def test_a_bucket_url_that_cannot_be_is_one_line(curator: Command, data: Path, url: str, words: str) -> None:
    target, out = data / "target", data / "run"
    for flags in (("--pool", url, "--out", out), ("--pool", data / "pool-0.tar", "--out", url)):
        ran = curator("select", "--target", target, *flags, "--encoder", "lite0", "--budget", "3")
        assert ran.code in (1, 2)
        assert words in ran.err
        assert "ter2" not in ran.err
        assert ran.err.count("\n") == 1


@pytest.mark.parametrize(("status", "code"), [(401, 2), (403, 2), (404, 2), (503, 1)])
def test_a_pool_that_is_not_given_says_so_before_work(
    curator: Command, data: Path, web: RangeServer, status: int, code: int
) -> None:
    web.status = lambda method, path: status
    pool = f"{web.url}/a.tar?X-Amz-Signature=SECRET"
    ran = curator("select", "--target", data / "target", "--pool", pool, "--out", data / "run", "--encoder", "lite0")
    assert ran.code == code, ran.err
    assert ("no such file" if status == 404 else f"HTTP {status}") in ran.err
    assert f"{web.url}/a.tar" in ran.err
    assert "SECRET" not in ran.err
    assert ran.err.count("\n") == 1
