"""`curator inspect OUT --bad`."""

import json
import shutil
from pathlib import Path

import pytest

from curator.errors import InputError, Reason
from curator.store import write_quarantine
from curator.types import LedgerLine
from curator_pipelines.cli.main import run
from curator_pipelines.jobs.queries.run_ledger import inspect_ledger


def test_every_line_as_text_and_as_json(reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(reference), "--bad"]) == 0
    header, line = capsys.readouterr().out.splitlines()
    assert header == "shard\tkey\tstation\treason\tdetail"
    assert line.split("\t")[1:4] == ["0002", "decode", "decode_error"]
    assert run(["inspect", str(reference), "--bad", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["lines"]
    assert (found["key"], found["station"], found["reason"]) == ("0002", "decode", "decode_error")


def test_before_the_ledger_is_written_the_finished_parts_tell(reference: Path, tmp_path: Path) -> None:
    out = shutil.copytree(reference, tmp_path / "run")
    whole = inspect_ledger(str(out)).lines
    (out / "quarantine.parquet").unlink()
    assert inspect_ledger(str(out)).lines == whole


def test_what_is_in_keys_is_shown_and_not_obeyed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = "a\x1b[2J\tb\nc"
    write_quarantine(str(tmp_path), [LedgerLine("s.tar", key, 0, "decode", Reason.DECODE_ERROR, "it\x07rings")])
    assert run(["inspect", str(tmp_path), "--bad"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["s.tar\ta\\x1b[2J\\tb\\nc\tdecode\tdecode_error\tit\\x07rings"]


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither run\.json nor quarantine\.parquet"):
        inspect_ledger(str(tmp_path))
