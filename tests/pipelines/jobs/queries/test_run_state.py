"""`curator inspect OUT`, while a run goes on, after its end, and after it was killed."""

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from jobs_for_tests import inodes

from curator.errors import InputError
from curator.io import owned, storage
from curator_pipelines.executors import InProcessExecutor
from curator_pipelines.jobs.queries.run_events import inspect_events
from curator_pipelines.jobs.queries.run_state import inspect_run, is_run
from curator_pipelines.jobs.queries.state import RunState
from curator_pipelines.run import Reporter, recorded, run_watch, spending

Run = Callable[..., Any]


class Watched(InProcessExecutor):
    """Looks at the run after every outcome."""

    def __init__(self, out: str) -> None:
        super().__init__()
        self.out = out
        self.seen: list[RunState] = []

    def map(self, stage: Any, tasks: Iterable[Any], **settings: Any) -> Any:
        for outcome in super().map(stage, tasks, **settings):
            self.seen.append(inspect_run(self.out))
            yield outcome


def states(run: RunState) -> list[str]:
    return [f"{stage.name} {stage.state}" for stage in run.stages]


def test_while_it_runs(run_on: Run, settings: dict[str, Any], s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_watch, "EVERY_REMOTE", 0.0)
    watched = Watched(f"{s3_bucket}/run")

    run_on(watched, out=watched.out, **settings)

    assert len(watched.seen) == 1 + 4 + 4
    assert all("process " in seen.holder for seen in watched.seen)
    assert [states(seen) for seen in watched.seen] == (
        [["target running", "pool waiting", "select waiting", "pack waiting"]]
        + [["target done", "pool running", "select waiting", "pack waiting"]] * 4
        + [["target done", "pool done", "select done", "pack running"]] * 4
    )
    pool = [seen.stages[1] for seen in watched.seen]
    assert [(stage.parts, stage.total) for stage in pool[1:5]] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    progress = watched.seen[3].progress
    assert progress is not None
    assert (progress["stage"], progress["unit"]) == ("pool", "samples")
    assert progress["done"] >= 9 + 36
    # Batches of a second say nothing of how fast it goes.
    assert progress["per_second"] is progress["eta"] is None
    # The first shard's bad sample, known from its done-mark.
    assert watched.seen[3].last[0].partition(": ")[2].startswith("decode_error")
    text = watched.seen[3].to_text()
    assert "held by     process " in text
    assert "pool        running, 3 of 4 parts\n" in text
    assert "now         pool: " in text and " of about " in text
    assert "ago)" in text
    assert not storage.exists(f"{watched.out}/progress.json")
    assert is_run(watched.out)


def test_after_its_end(reference: Path) -> None:
    before = inodes(reference)

    state = inspect_run(str(reference))

    assert inodes(reference) == before
    assert (state.holder, state.state) == ("", "done")
    assert states(state) == ["target done", "pool done", "select done", "pack done"]
    assert [event["kind"] for event in state.events[-2:]] == ["stage_ended", "run_ended"]
    assert state.bad_by_shard and list(state.bad_by_shard.values()) == [1]
    story = inspect_events(str(reference)).events
    assert [event["facts"]["stage"] for event in story if event["kind"] == "stage_ended"] == [
        *("target", "pool", "select", "pack")
    ]
    pool = next(event["facts"] for event in story if event["text"].startswith("pool done"))
    assert pool["used"]["read_bytes"] > 0 and pool["used"]["cpu_ms"] > 0
    assert state.progress is None
    assert state.bad == {"decode_error": 1}
    assert len(state.last) == 1
    assert "21 samples chosen (budget)" in state.to_text()
    assert json.loads(json.dumps(state.to_json()))["stages"][1]["parts"] == 4


def test_after_it_was_killed(reference: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(reference, tmp_path / "run"))
    record = json.loads((out / "run.json").read_text())
    record["stages"]["pool"]["state"] = "running"
    (out / "run.json").write_text(json.dumps(record))
    (out / "owner.json").write_text("{}")
    (out / "progress.json").write_text('{"stage": "pool"}')
    next((out / "pool" / "done").glob("00000003-*")).unlink()

    state = inspect_run(str(out))

    assert state.state == "died"
    assert states(state) == ["target done", "pool stopped", "select waiting", "pack waiting"]
    assert (state.stages[1].parts, state.stages[1].total) == (3, 4)
    assert "run the same command again" in state.to_text()


def test_during_a_warmup_there_is_no_run_json_yet(tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    with owned(out) as owner, recorded(Reporter(quiet=True), out, owner), spending("warmup"):
        assert is_run(out)
        state = inspect_run(out)

    assert states(state) == ["warmup running"]
    assert state.state == "running" and "process " in state.holder
    after = inspect_run(out)
    assert (after.state, states(after), after.events[-1]["text"]) == ("done", [], "done")


def test_while_a_run_goes_on_again_what_an_earlier_one_left_is_told_apart(reference: Path, tmp_path: Path) -> None:
    out = str(shutil.copytree(reference, tmp_path / "run"))
    record = json.loads(Path(out, "run.json").read_text())
    record["stages"]["pool"]["state"] = "running"  # its driver was killed
    Path(out, "run.json").write_text(json.dumps(record))
    with owned(out) as owner, recorded(Reporter(quiet=True), out, owner):
        state = inspect_run(out)
        assert states(state) == ["target done", "pool stopped", "select waiting", "pack waiting"]
        assert "start: " in state.to_text()
        with spending("measure"):
            assert states(inspect_run(out))[0] == "measure running"


def test_a_folder_of_images_called_events_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "a.jpg").touch()
    assert not is_run(str(tmp_path))


def test_what_is_no_run(tmp_path: Path) -> None:
    assert not is_run(str(tmp_path))
    with pytest.raises(InputError, match=r"no run was begun there"):
        inspect_run(str(tmp_path))


def test_what_is_no_run_is_not_looked_up(tmp_path: Path) -> None:
    assert not is_run("pipe:aws s3 cp s3://bucket/{00000..00001}.tar -")
    assert not is_run(f"@{tmp_path}/list.txt")
    assert not is_run(f"{tmp_path}/a.tar::{tmp_path}/b.tar")
