from __future__ import annotations

from typing import Any

import pytest
import torch

from curator.errors import InputError
from curator.io.run_lock import owned
from curator.settings.config import build
from curator_pipelines.cli.main import run
from curator_pipelines.config.train import LaunchedTrainConfig
from curator_pipelines.jobs.train import train_run
from curator_pipelines.jobs.train.train_run import run_train
from curator_pipelines.run.progress import Reporter
from curator_ssl import resolve
from curator_ssl.config import TrainConfig
from curator_ssl.resolve import auto_epochs, resolve_machine


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[TrainConfig]:
    """The configs of the runs that were begun; they end at once."""
    runs: list[TrainConfig] = []

    def begin(config: TrainConfig, *_: object) -> None:
        runs.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr(train_run, "train", begin)
    return runs


@pytest.mark.parametrize(
    ("given", "image_size", "steps"),
    [
        # 9 images, 4 a step: 2 steps an epoch.
        ({}, 32, 100 * 2),
        ({"epochs": "2", "image_size": 48}, 48, 2 * 2),
        ({"epochs": "auto"}, 32, 5000 * 2),
        ({"steps": 7}, 32, 7),
    ],
)
def test_how_long_on_a_cpu(
    given: dict[str, Any],
    image_size: int,
    steps: int,
    settings: dict[str, Any],
    started: list[TrainConfig],
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resolve, "CPU_SAMPLES_SEEN", 900)
    flags = {"target": settings["target"], "batch_size": 4, "device": "cpu", "out": str(tmp_path / "run")}
    with pytest.raises(KeyboardInterrupt):
        run_train(build(LaunchedTrainConfig, flags | given), Reporter())
    assert (started[0].image_size, started[0].steps) == (image_size, steps)


def test_one_run_trains_into_a_directory(settings: dict[str, Any], started: list[TrainConfig], tmp_path: Any) -> None:
    flags = {"target": settings["target"], "device": "cpu", "out": str(tmp_path / "run")}
    with owned(flags["out"]), pytest.raises(InputError, match="in use by process"):
        run_train(build(LaunchedTrainConfig, flags), Reporter())
    assert not started


def test_on_a_gpu_as_the_paper_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve, "resolve_device", lambda name: torch.device("cuda"))
    config = build(LaunchedTrainConfig, {"target": ["photos/"], "precision": "fp32", "nproc": 1, "address": "local"})
    resolved = resolve_machine(config)
    assert (resolved.arch, resolved.image_size, resolved.device) == ("timm:resnet50", 224, "cuda")
    assert auto_epochs(1_281_167) == 100


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--epochs 3 --steps 7", "epochs and steps both say how long to train: leave --epochs away, or leave --steps"),
        ("--steps-per-epoch 3", "--steps-per-epoch: without shares of a batch an epoch is one pass over everything"),
        ("--nproc 3 --batch-size 8", "--batch-size 8: it cannot be cut equally over 3 processes"),
        ("--method dino", "--method dino: there is no such method"),
        ("--method-option temprature=0.2", "--method-option temprature: simclr has no such option; did you mean"),
        ("--lr-warmup 5", "Did you mean '--lr-ramp'"),
    ],
)
def test_what_cannot_be_told_is_exit_2(
    flags: str, message: str, settings: dict[str, Any], tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = ["train", "--target", *settings["target"], "--out", str(out), "--device", "cpu", *flags.split()]
    assert run(words) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_options_of_a_method_in_yaml(settings: dict[str, Any], started: list[TrainConfig], tmp_path: Any) -> None:
    file = tmp_path / "train.yaml"
    file.write_text("method-option: {temperature: 0.3}\nbatch-size: 4\nsteps: 2\ndevice: cpu\n")
    words = ["train", "--target", *settings["target"], "--out", str(tmp_path / "run"), "--config", str(file)]
    assert run(words) == 130
    assert started[0].method_option == {"temperature": 0.3, "projection": 128}
