"""OUT/events: whole small files, in order, bounded, without secrets; none of a call that was refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from curator.io import storage
from curator_pipelines.run import event_names, events, read_events
from curator_pipelines.run.events import Events


def kinds(out: str) -> list[str]:
    return [event["kind"] for event in read_events(out, event_names(out))]


@pytest.mark.parametrize("out", ["local", "memory://events-in-order"])
def test_events_are_read_in_their_order(out: str, tmp_path: Path) -> None:
    out = str(tmp_path) if out == "local" else out
    told = Events(out, "5f0c1a2b")
    told.note("run_began", "began")
    assert event_names(out) == []  # it may yet be refused
    told.note("stage_began", "pool began", stage="pool")
    told.note("worker_lost", "lost in https://me:SECRET@h/a.tar?jwt=SECRET", task="https://h/a.tar?jwt=SECRET")
    told.note("run_ended", "done", exit_code=0)
    told.close()

    assert kinds(out) == ["run_began", "stage_began", "worker_lost", "run_ended"]
    lost = read_events(out, event_names(out))[2]
    assert lost["run"] == "5f0c1a2b" and lost["text"] == "lost in https://h/a.tar"
    assert lost["facts"] == {"task": "https://h/a.tar"}
    for name in event_names(out):
        assert b"SECRET" not in storage.read_bytes(storage.join(out, "events", name))


def test_a_refused_call_leaves_nothing(tmp_path: Path) -> None:
    told = Events(str(tmp_path), "5f0c1a2b")
    told.note("run_began", "began")
    told.note("run_ended", "no such pool", exit_code=2)
    told.close()
    assert list(tmp_path.iterdir()) == []


def test_a_storm_is_counted_and_begins_and_ends_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MOST", 3)
    told = Events(str(tmp_path), "5f0c1a2b")
    told.note("stage_began", "pool began")
    for number in range(10):
        told.note("worker_lost", f"loss {number}")
    told.note("stage_ended", "pool done")
    told.note("run_ended", "done", exit_code=0)
    told.close()

    # How the run ended is the last word.
    assert kinds(str(tmp_path)) == ["stage_began", *["worker_lost"] * 3, "stage_ended", "left_out", "run_ended"]
    last = read_events(str(tmp_path), event_names(str(tmp_path)))[-2]
    assert last["facts"] == {"worker_lost": 7} and "worker_lost: 7" in last["text"]


def test_of_earlier_calls_the_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEPT", 2)
    for run in ("aaaaaaaa", "bbbbbbbb", "cccccccc"):
        told = Events(str(tmp_path), run)
        told.note("stage_began", "pool began")
        told.note("stage_ended", "pool done")
        told.close()
    runs = [event["run"] for event in read_events(str(tmp_path), event_names(str(tmp_path)))]
    assert runs == ["bbbbbbbb"] * 2 + ["cccccccc"] * 2


def test_a_store_that_fails_ends_no_run_and_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "events").write_text("a file where a folder should be")
    told = Events(str(tmp_path), "5f0c1a2b")
    for _ in range(3):
        told.note("stage_began", "pool began")
    told.close()
    assert [record.message[:30] for record in caplog.records if "any more" in record.message] == [
        "what happens is not written to"
    ]


def test_what_is_no_event_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    for name, text in (
        ("20261129T140307125Z-5f0c1a2b-00001-stage_began.json", "{"),
        ("20261129T140307125Z-5f0c1a2b-00002-stage_ended.json", "[]"),
        ("20261129T140307125Z-5f0c1a2b-00003-worker_lost.json", json.dumps({"time": 1})),
        ("notes.json", "{}"),
    ):
        (tmp_path / "events" / name).write_text(text)
    assert len(event_names(str(tmp_path))) == 3
    assert read_events(str(tmp_path), event_names(str(tmp_path))) == []
