from __future__ import annotations

import os

import pytest

from curator_pipelines.executors.threads import THREAD_VARIABLES, prepare_threads


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*THREAD_VARIABLES, "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_threads_of_every_library_and_short_waits() -> None:
    prepare_threads(3)
    assert {os.environ[name] for name in THREAD_VARIABLES} == {"3"}
    assert os.environ["GOMP_SPINCOUNT"] == "1000"


def test_what_the_user_decided_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("GOMP_SPINCOUNT", "5")
    prepare_threads()
    assert (os.environ["OMP_NUM_THREADS"], os.environ["GOMP_SPINCOUNT"]) == ("7", "5")


def test_a_policy_for_waiting_is_not_overruled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    prepare_threads()
    assert "GOMP_SPINCOUNT" not in os.environ
