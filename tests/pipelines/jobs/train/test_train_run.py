from __future__ import annotations

from typing import Any

import pytest
import torch

from curator.errors import InputError
from curator.io.run_lock import owned
from curator_pipelines.config.select import build
from curator_pipelines.config.train import TrainConfig
from curator_pipelines.jobs.train import train_run as train
from curator_pipelines.jobs.train.train_run import resolve_settings, run_train
from curator_pipelines.run.progress import Reporter
from curator_ssl.settings import TrainSettings


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[TrainSettings]:
    """The settings of the runs that were begun; they end at once."""
    runs: list[TrainSettings] = []

    def begin(settings: TrainSettings, *_: object) -> None:
        runs.append(settings)
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "train", begin)
    return runs


@pytest.mark.parametrize(
    ("told", "image_size", "steps"),
    [
        # 9 images, 4 a step: 2 steps an epoch.
        ({}, 64, 100 * 2),
        ({"epochs": "2", "image_size": 48}, 48, 2 * 2),
        ({"epochs": "auto"}, 64, 5000 * 2),
        ({"steps": 7}, 64, 7),
    ],
)
def test_how_long_on_a_cpu(
    told: dict[str, Any],
    image_size: int,
    steps: int,
    settings: dict[str, Any],
    started: list[TrainSettings],
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(train, "CPU_SAMPLES_SEEN", 900)
    flags = {"target": settings["target"], "batch_size": 4, "device": "cpu", "out": str(tmp_path / "run")}
    with pytest.raises(KeyboardInterrupt):
        run_train(build(TrainConfig, flags | told), Reporter())
    assert (started[0].image_size, started[0].steps) == (image_size, steps)


def test_one_run_trains_into_a_directory(settings: dict[str, Any], started: list[TrainSettings], tmp_path: Any) -> None:
    flags = {"target": settings["target"], "device": "cpu", "out": str(tmp_path / "run")}
    with owned(flags["out"]), pytest.raises(InputError, match="in use by process"):
        run_train(build(TrainConfig, flags), Reporter())
    assert not started


def test_on_a_gpu_as_the_paper_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "resolve_device", lambda name: torch.device("cuda"))
    config = build(TrainConfig, {"target": ["photos/"], "precision": "fp32", "nproc": 1, "address": "local"})
    found = resolve_settings(config, "run")
    assert (found.image_size, found.device) == (224, "cuda")
    assert train._epochs(found, config, 1_281_167, Reporter()) == 100
