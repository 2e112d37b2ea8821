"""Every setting of `curator train`: another value is another run or changes nothing, as it declares."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from jobs_for_tests import inodes, picture, tar_bytes

from curator.errors import InputError
from curator.settings.config import build
from curator.settings.setting import declared
from curator_pipelines.config.train import LaunchedTrainConfig
from curator_pipelines.jobs.train.train_run import run_train
from curator_pipelines.run.progress import Reporter

# Name -> another value, or what else must be given with it; a string that starts with / is below the data's folder.
CASES: dict[str, Any] = {
    "target": ["/target-1"],
    "shards": ["/pool-1.tar"],
    "method": "byol",
    "method_option": ["temperature=0.3"],
    "arch": "timm:test_resnet",
    "weights": "/weights.pt",
    "image_size": 48,
    "epochs": {"epochs": "2", "steps": None},
    "steps": 3,
    "batch_size": 2,
    "optimizer": "adamw",
    "lr": 0.01,
    "weight_decay": 0.1,
    "lr_ramp": 0,
    "clip": 1.0,
    "target_share": "25%",
    "finish_on_target": "50%",
    "steps_per_epoch": 2,
    "seed": 1,
    "device": "auto",
    "precision": "fp32",
    "loader_workers": 1,
    "sync_bn": False,
    "compile": True,
    "save_every": 1,
    "max_bad": "40%",
    "log_to": [],
}
PROBE = {"probe_every": 1, "probe_train": ["/target-0"], "probe_test": ["/target-1"], "probe_label": "folder"}
CASES |= dict.fromkeys(PROBE, PROBE)
# Where a training run stands, how many processes it has, and whether it goes on.
NOT_WALKED = {"out", "nproc", "address", "resume", "metrics_file"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Targets, shards and weights, each in two versions, and a finished run at `run`."""
    root = tmp_path_factory.mktemp("train")
    for number in range(2):
        for image in range(4):
            path = root / f"target-{number}" / f"class-{image % 2}" / f"{image}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(10 * number + image))
        entries = [(f"{image}.png", picture(100 + 10 * number + image)) for image in range(6)]
        (root / f"pool-{number}.tar").write_bytes(tar_bytes(entries))
    torch.save(timm.create_model("test_efficientnet").state_dict(), root / "weights.pt")
    run_train(build(LaunchedTrainConfig, base(root, root / "run")), Reporter())
    return root


def base(root: Path, out: Path) -> dict[str, Any]:
    return {
        "target": [str(root / "target-0")],
        "shards": [str(root / "pool-0.tar")],
        "out": str(out),
        "arch": "timm:test_efficientnet",
        "image_size": 32,
        "steps": 2,
        "batch_size": 4,
        "target_share": 0.5,
        "steps_per_epoch": 1,
        "lr_ramp": 1,
        "device": "cpu",
        "loader_workers": 0,
        "resume": True,
    }


def in_folder(value: Any, root: Path) -> Any:
    if isinstance(value, list):
        return [in_folder(inner, root) for inner in value]
    return f"{root}{value}" if isinstance(value, str) and value.startswith("/") else value


@pytest.mark.parametrize("name", CASES)
def test_another_value_is_another_run_or_changes_nothing(name: str, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(folder / "run", out)
    before = {file: key for file, key in inodes(out).items() if file in ("encoder.pt", "checkpoint.pt")}
    case = CASES[name] if isinstance(CASES[name], dict) else {name: CASES[name]}
    given = base(folder, out) | {key: in_folder(value, folder) for key, value in case.items()}
    config = build(LaunchedTrainConfig, given)
    if declared(LaunchedTrainConfig)[name].setting.changes is None:
        assert "steps were done before" in run_train(config, Reporter()).to_text()
        assert inodes(out)["checkpoint.pt"] == before["checkpoint.pt"]
    else:
        with pytest.raises(InputError, match=r"different run|other samples"):
            run_train(config, Reporter())
        assert {file: inodes(out)[file] for file in before} == before


def test_the_walk_covers_every_setting() -> None:
    assert set(declared(LaunchedTrainConfig)) - NOT_WALKED == set(CASES)
