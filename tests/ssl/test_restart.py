"""A run that learns nothing begins again, once, and then says so: with a real collapse, of an absurd learning rate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from training_for_tests import KeptReports, losses

from curator.settings.config import build
from curator_ssl import train_loop
from curator_ssl.config import TrainConfig
from curator_ssl.data.sample_finder import find_samples
from curator_ssl.outputs.collapse import NothingLearned
from curator_ssl.resolve import resolve_length, resolve_machine
from curator_ssl.train_loop import TrainResult, train

ABSURD, CALM = 1000.0, 1.0


@pytest.fixture(autouse=True)
def calmer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One restart leads from the absurd learning rate to one that is none."""
    monkeypatch.setattr(train_loop, "CALMER", CALM / ABSURD)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def run(out: Path, shards: list[str], lr: float, reporter: Any) -> TrainResult:
    samples = find_samples(shards, [], str(out)).samples
    settings = {"target": shards, "out": str(out), "arch": "small_resnet", "image_size": 16, "batch_size": 16}
    flags = {"steps": 60, "lr": lr, "device": "cpu", "precision": "fp32", "loader_workers": 0, "save_every": 5}
    config = resolve_length(resolve_machine(build(TrainConfig, settings | flags)), samples)
    return train(config, samples, [], reporter)


def test_it_begins_again_as_if_begun_calmer(shards: list[str], tmp_path: Path, reports: KeptReports) -> None:
    again = run(tmp_path / "absurd", shards, ABSURD, reports)
    calm = run(tmp_path / "calm", shards, CALM, KeptReports())

    assert (again.restarts, again.steps, calm.restarts) == (1, 60, 0)
    assert losses(tmp_path / "absurd") == losses(tmp_path / "calm")
    assert reports.warnings == ["nothing was learned at first: the run began again at a learning rate of 1"]
    encoders = [torch.load(tmp_path / name / "encoder.pt", weights_only=True) for name in ("absurd", "calm")]
    assert [encoder["meta"]["restarts"] for encoder in encoders] == [1, 0]
    assert all(encoders[0]["state_dict"][name].equal(tensor) for name, tensor in encoders[1]["state_dict"].items())


@pytest.mark.parametrize("killed_at", [30, 70])
def test_a_kill_before_or_after_changes_nothing(
    shards: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    run(tmp_path / "whole", shards, ABSURD, KeptReports())
    taken = iter(range(killed_at))
    step = train_loop.TrainStep.__call__

    def killed(self: Any, batch: Any) -> Any:
        if next(taken, None) is None:
            raise KeyboardInterrupt
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(train_loop.TrainStep, "__call__", killed)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "killed", shards, ABSURD, KeptReports())

    resumed = run(tmp_path / "killed", shards, ABSURD, KeptReports())

    assert resumed.restarts == 1
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")


def test_twice_ends_the_run_and_again_when_resumed(
    shards: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_loop, "CALMER", 0.5)
    for _ in range(2):
        with pytest.raises(NothingLearned, match=r"2 times as high it was so before: give a lower lr") as failure:
            run(tmp_path, shards, ABSURD, KeptReports())
        assert failure.value.exit_code == 1
    assert not (tmp_path / "encoder.pt").exists()
