import re

import pytest

from curator.errors import CuratorError
from curator_pipelines.executors.patience import Patience


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_is_told_once_a_minute_with_what_for_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    patience = Patience(900, clock=clock)
    told = []
    for clock.now in range(0, 900, 5):
        caplog.clear()
        patience.wait_for(lambda: "a node with 1 GPU")
        if "waiting for a node with 1 GPU" in caplog.text:
            told.append(clock.now)

    assert told == list(range(0, 900, 60))
    clock.now = 900
    with pytest.raises(CuratorError, match=re.escape("waited 15 minutes for a node with 1 GPU")) as raised:
        patience.wait_for(lambda: "a node with 1 GPU")
    assert raised.value.exit_code == 1
    assert "wait_for_workers" in str(raised.value)


def test_a_worker_in_between_begins_it_anew(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    patience = Patience(100, tell_after=30, clock=clock)
    for clock.now in (10.0, 29.0, 95.0):
        patience.reset()
        patience.wait_for(lambda: "a node")
    clock.now = 194.0
    patience.wait_for(lambda: "a node")

    assert len(caplog.messages) == 1
    assert "waiting for a node; the run gives up in 1 s" in caplog.text


def test_no_patience_at_all() -> None:
    with pytest.raises(CuratorError, match="waited 0 s"):
        Patience(0).wait_for(lambda: "a node")
