"""Where a training's numbers go: loggers get every line, and one that fails ends nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from curator.errors import InputError
from curator_ssl.loggers import Loggers, check_loggers
from curator_ssl.outputs.metrics import Metrics


class Kept:
    """Keeps what it gets."""

    made: list[Kept] = []  # noqa: RUF012

    def __init__(self, out: str, config: Mapping[str, Any], step: int) -> None:
        self.begin, self.lines, self.is_closed = (out, dict(config), step), [], False
        self.made.append(self)

    lines: list[tuple[int, dict[str, float]]]

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self.lines.append((step, dict(values)))

    def close(self) -> None:
        self.is_closed = True


class Offline(Kept):
    def __init__(self, out: str, config: Mapping[str, Any], step: int) -> None:
        raise ConnectionError("no network")


class Fails(Kept):
    def write(self, step: int, values: Mapping[str, float]) -> None:
        super().write(step, values)
        raise ConnectionError("no network")


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classes of this file, by their names."""
    classes = {"kept": Kept, "fails": Fails, "offline": Offline, "nothing": object}
    monkeypatch.setattr("curator_ssl.loggers.LOGGERS", type("Table", (), {"find": staticmethod(classes.__getitem__)}))
    Kept.made.clear()


def test_every_logger_gets_every_line_beside_the_file(tmp_path: Path) -> None:
    with Metrics(str(tmp_path), 0, Loggers(["kept"], str(tmp_path), {"lr": 0.1}, 0)) as metrics:
        metrics.write({"step": 0, "loss": 2.5})
        metrics.write({"step": 1, "loss": 2.0})

    (logger,) = Kept.made
    assert logger.begin == (str(tmp_path), {"lr": 0.1}, 0)
    assert logger.lines == [(0, {"loss": 2.5}), (1, {"loss": 2.0})]
    assert logger.is_closed
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["loss"] for line in lines] == [2.5, 2.0]


def test_a_logger_that_fails_is_told_once_and_ends_no_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Metrics(str(tmp_path), 0, Loggers(["fails", "kept"], str(tmp_path), {}, 0)) as metrics:
        for step in range(3):
            metrics.write({"step": step, "loss": 1.0})

    fails, kept = Kept.made
    assert (len(fails.lines), len(kept.lines)) == (1, 3)
    assert [record.message for record in caplog.records] == ["fails gets no more numbers: ConnectionError: no network"]


def test_a_logger_that_cannot_be_made_is_told_and_ends_no_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loggers = Loggers(["offline", "kept", "kept"], str(tmp_path), {}, 0)
    loggers.write(0, {"loss": 2.5})
    loggers.close()
    assert [logger.lines for logger in Kept.made] == [[(0, {"loss": 2.5})]]
    assert "offline gets no numbers: ConnectionError: no network" in caplog.text


def test_what_is_no_logger_is_refused_before_the_training() -> None:
    check_loggers(["kept"])
    with pytest.raises(InputError, match="it has no write and no close") as refused:
        check_loggers(["nothing"])
    assert refused.value.field == "log_to"


def test_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.undo()
    for start in (0, 2):  # the second part of the run does step 2 again
        loggers = Loggers(["tensorboard"], str(tmp_path), {}, start)
        for step in range(start, start + 3):
            loggers.write(step, {"loss": 10.0 * start + step})
        loggers.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [
        *((0, 0.0), (1, 1.0), (2, 22.0), (3, 23.0), (4, 24.0))
    ]


def test_an_unknown_one_names_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"no such logger \(near: tensorboard\)") as refused:
        check_loggers(["tensorbord"])
    assert refused.value.field == "log_to"
