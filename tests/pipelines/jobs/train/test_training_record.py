"""The run.json of a training, and who reads it."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from curator.errors import InputError
from curator_pipelines.cli.main import run
from curator_pipelines.jobs.queries.run_state import inspect_run, is_run
from curator_pipelines.jobs.train import train_run
from curator_pipelines.run import RunDirectory, TrainingRecord, called_as, is_training
from curator_ssl.train_loop import Interrupted

SECRET = "https://me:SECRET@host/a.tar?X-Amz-Signature=SECRET"


@pytest.fixture
def words(settings: dict[str, Any], tmp_path: Path) -> list[str]:
    small = ["--arch", "test_resnet", "--image-size", "32", "--batch-size", "4", "--steps", "2"]
    where = ["--out", str(tmp_path / "run"), "--device", "cpu", "--loader-workers", "0"]
    return ["train", "--target", *settings["target"], *small, *where]


def read(out: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((out / "run.json").read_text())
    return record


def test_a_resumed_training_keeps_the_first_record_and_adds_its_call(words: list[str], tmp_path: Path) -> None:
    assert run(words) == 0
    first = read(tmp_path / "run")
    assert (first["kind"], first["config"]["steps"], first["config"]["lr"]) == ("training", 2, 0.5)
    assert {"torch", "timm", "python"} <= set(first["versions"])
    assert (first["stages"]["train"]["state"], first["stages"]["train"]["steps"]) == ("done", 2)
    (call,) = first["calls"]
    assert call["command"].startswith("curator train --target ") and call["host"] == socket.gethostname()
    assert set(call["stages"]) == {"start", "train"} and "changed" not in call

    numbers = tmp_path / "curator.prom"
    assert run([*words, "--metrics-file", str(numbers), "--resume", "--max-bad", "40%"]) == 0
    assert f'curator_exit_code{{out="{tmp_path}/run"}} 0' in numbers.read_text()
    again = read(tmp_path / "run")
    assert again | {"calls": None} == first | {"calls": None}
    assert again["calls"][0] == call
    assert again["calls"][1]["command"].endswith("--resume --max-bad 40%")
    assert again["calls"][1]["changed"] == {"config": {"max_bad": 0.4}}


def test_a_refused_call_leaves_no_trace(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 0
    before = (tmp_path / "run" / "run.json").read_bytes()
    assert run([*words, "--resume", "--seed", "5"]) == 2
    assert "different run" in capsys.readouterr().err
    assert run(words) == 2
    assert (tmp_path / "run" / "run.json").read_bytes() == before


def test_a_first_call_that_is_refused_leaves_no_record(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no"), TrainingRecord(str(tmp_path)).training({}, False, 0.0):
        raise InputError("no")
    assert not (tmp_path / "run.json").exists()


def test_without_secrets(tmp_path: Path) -> None:
    with called_as(["curator", "train", f"--target={SECRET}"]):
        with TrainingRecord(str(tmp_path)).training({"target": [SECRET]}, False, 0.0):
            pass
        # The same address with another signature is no change.
        with TrainingRecord(str(tmp_path)).training({"target": [SECRET]}, True, 0.0):
            pass
    text = (tmp_path / "run.json").read_text()
    assert "SECRET" not in text and "changed" not in text
    assert read(tmp_path)["config"]["target"] == ["https://host/a.tar"]
    assert [call["command"] for call in read(tmp_path)["calls"]] == ["curator train --target=https://host/a.tar"] * 2


def test_without_a_checkpoint_it_begins_anew(tmp_path: Path) -> None:
    for steps in (5, 7):
        with pytest.raises(KeyboardInterrupt), TrainingRecord(str(tmp_path)).training({"steps": steps}, False, 0.0):
            raise KeyboardInterrupt
    record = read(tmp_path)
    assert record["config"] == {"steps": 7}
    assert len(record["calls"]) == 2 and record["stages"]["train"]["state"] == "stopped"


def test_inspect_tells_how_far_a_training_is(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    seen: list[str] = []

    def stop(*_: object) -> None:
        (out / "metrics.jsonl").write_text('{"step": 0, "loss": 1.5}\n{"step": 0, "knn 1": 0.5}\n{"step": 1')
        seen.append(inspect_run(str(out)).to_text())
        raise Interrupted("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(train_run, "train", stop)
        assert run(words) == 130
    assert "train       running; 1 of 2 steps, loss 1.5000" in seen[0]
    assert "held by     process" in seen[0] and "--resume" not in seen[0]
    text = inspect_run(str(out)).to_text()
    assert "train       stopped; 1 of 2 steps, loss 1.5000" in text
    assert text.splitlines()[-1] == "stopped before its end: run the same command again with --resume to go on"

    assert run(words) == 0
    assert is_run(str(out))
    capsys.readouterr()
    assert run(["inspect", str(out)]) == 0
    assert "; 2 steps\nbad         none" in capsys.readouterr().out
    assert run(["inspect", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stages"][0]["state"] == "done"
    assert run(["inspect", str(out), "--bad"]) == 0
    assert capsys.readouterr().out.startswith("shard\tkey\t")
    assert run(["verify", str(out)]) == 2
    assert "is the run directory of a training" in capsys.readouterr().err


def test_the_two_kinds_do_not_mix(tmp_path: Path) -> None:
    with TrainingRecord(str(tmp_path / "a")).training({}, False, 0.0):
        pass
    with pytest.raises(InputError, match="is the run directory of a training"):
        RunDirectory(str(tmp_path / "a"))
    RunDirectory(str(tmp_path / "b")).start({}, None)
    with pytest.raises(InputError, match="is the run directory of a selection"):
        TrainingRecord(str(tmp_path / "b"))
    assert not is_training(str(tmp_path / "b"))
