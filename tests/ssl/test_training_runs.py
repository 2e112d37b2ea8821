"""Whole runs of `curator train`, with real processes that are really killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from training_for_tests import PATIENCE, ROOT, losses, metrics, picture, run_command, train_command, write_tar

from curator.encoders.load import load_encoder
from curator.errors import InputError
from curator_pipelines.cli.main import cli

# In fp32: sums in bf16 differ in the third digit when a batch is cut otherwise.
STEPS = ["--steps", "40", "--save-every", "5", "--precision", "fp32"]


@pytest.fixture(scope="module")
def alone(shards: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run in one process; read only."""
    out = tmp_path_factory.mktemp("alone")
    ran = run_command(train_command(out, shards, *STEPS))
    assert ran.returncode == 0, ran.stderr
    return out


@pytest.fixture(scope="module")
def pair(shards: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run in two processes; read only."""
    out = tmp_path_factory.mktemp("pair")
    ran = run_command(train_command(out, shards, *STEPS, "--nproc", 2))
    assert ran.returncode == 0, ran.stderr
    return out


def interrupt(
    command: list[str],
    out: Path,
    strike: Callable[[subprocess.Popen[str]], None],
    ready: Callable[[], bool] | None = None,
) -> tuple[int, str]:
    """Start a run in a group of its own, strike at its first checkpoint or when it is ready: exit code and stderr."""
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=ROOT, text=True, start_new_session=True, **pipes) as run:
        deadline = time.monotonic() + PATIENCE
        while not (ready or (out / "checkpoint.pt").exists)():
            assert run.poll() is None and time.monotonic() < deadline, run.communicate()[1]
            time.sleep(0.01)
        strike(run)
        _, told = run.communicate(timeout=PATIENCE)
    assert not (out / "encoder.pt").exists(), "it ended before it was struck"
    return run.returncode, told


def lines_of_metrics(out: Path) -> int:
    file = out / "metrics.jsonl"
    return file.read_text().count("\n") if file.exists() else 0


def children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if int(fields[1]) == parent and b"train_rank" in words:
                found.append(int(entry.name))
    return sorted(found)


def test_it_writes_metrics_and_an_encoder(alone: Path) -> None:
    lines = metrics(alone)
    assert len(lines) == 40 and lines[-1]["samples"] == 320 and lines[-1]["epoch"] == 9
    encoder = load_encoder(f"checkpoint:{alone}/encoder.pt", device="cpu", precision="fp32")
    assert encoder.architecture == "timm:test_convnext" and encoder.preprocess.crop == (32, 32)


def test_it_learns(alone: Path, shards: list[str], tmp_path: Path) -> None:
    ran = run_command(train_command(tmp_path, shards, *STEPS, "--lr", "1e-6"))
    assert ran.returncode == 0, ran.stderr
    # The same weights and batches, not trained: of few images, the loss of either depends on the order.
    assert sum(losses(alone)[20:]) / 20 < sum(losses(tmp_path)[20:]) / 20 - 0.1


@pytest.mark.slow
def test_two_processes_are_one_with_twice_the_batch(alone: Path, pair: Path) -> None:
    assert losses(pair) == pytest.approx(losses(alone), rel=1e-3)
    # And the data matters: the curve is no constant that anything would match.
    assert max(losses(alone)) - min(losses(alone)) > 0.1


def test_killed_and_resumed_to_the_same_losses(alone: Path, shards: list[str], tmp_path: Path) -> None:
    command = train_command(tmp_path, shards, *STEPS)
    code, _ = interrupt(command, tmp_path, lambda run: run.kill())
    assert code == -signal.SIGKILL

    refused = run_command(command)
    assert refused.returncode == 2 and "--resume" in refused.stderr
    ran = run_command([*command, "--resume"])

    assert ran.returncode == 0, ran.stderr
    assert losses(tmp_path) == losses(alone)


@pytest.mark.slow
def test_a_killed_rank_ends_the_run_clearly_and_it_resumes(pair: Path, shards: list[str], tmp_path: Path) -> None:
    command = train_command(tmp_path, shards, *STEPS, "--nproc", 2)
    code, told = interrupt(command, tmp_path, lambda run: os.kill(children(run.pid)[1], signal.SIGKILL))

    assert code == 1
    assert "died of SIGKILL" in told and "--resume" in told and "Traceback" not in told
    ran = run_command([*command, "--resume"])
    assert ran.returncode == 0, ran.stderr
    assert losses(tmp_path) == losses(pair)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_sigterm_to_a_whole_group_saves_and_exits_130(processes: int, shards: list[str], tmp_path: Path) -> None:
    rank = ["--nproc", processes, "--loader-workers", 1]
    command = train_command(tmp_path, shards, "--steps", 5000, "--save-every", 5000, *rank)
    code, told = interrupt(
        command, tmp_path, lambda run: os.killpg(run.pid, signal.SIGTERM), lambda: lines_of_metrics(tmp_path) > 20
    )

    assert code == 130
    (step,) = re.findall(r"interrupted at step ([0-9,]+) of 5,000, which is saved", told)
    assert "--resume" in told and "Traceback" not in told
    checkpoint = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert checkpoint["state"]["step"] == int(step.replace(",", "")) >= 20


@pytest.mark.slow
def test_too_many_bad_samples_end_the_run_again(tmp_path: Path) -> None:
    images = {f"{index:02d}.png": picture(index) for index in range(16)} | {"03.png": b"not a PNG"}
    write_tar(tmp_path / "a.tar", images)
    command = train_command(tmp_path / "out", [str(tmp_path / "a.tar")], "--steps", 2)
    for words in ([], ["--resume"]):
        ran = run_command([*command, *words])
        assert ran.returncode == 3 and "1 of 16 samples seen are bad (6.25%)" in ran.stderr
        assert not (tmp_path / "out" / "encoder.pt").exists()

    ran = run_command([*command, "--resume", "--max-bad", "10%", "--json"])

    assert ran.returncode == 0, ran.stderr
    # Nothing was left to do, so there is no loss; NaN would be no JSON.
    assert json.loads(ran.stdout, parse_constant=pytest.fail)["trained"]["loss"] is None


def test_another_run_in_the_same_place(alone: Path, shards: list[str]) -> None:
    with pytest.raises(InputError, match=r"lr was 0.5, now 0.1"):
        cli.main(train_command(alone, shards, *STEPS, "--resume", "--lr", "0.1")[3:], standalone_mode=False)


@pytest.mark.slow
def test_a_cluster_trains_as_one_machine_does(pair: Path, shards: list[str], tmp_path: Path) -> None:
    pytest.importorskip("ray.train.torch")
    cluster = ["--nproc", 2, "--address", "local"]

    ran = run_command(train_command(tmp_path / "run", shards, *STEPS, *cluster))

    assert ran.returncode == 0, ran.stderr
    assert losses(tmp_path / "run") == losses(pair)
    failed = run_command(train_command(tmp_path / "failed", shards, *STEPS, *cluster, "--lr", "1e30"))
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("curator: the loss is not finite")
    crowded = run_command(train_command(tmp_path / "crowded", shards, *STEPS, "--nproc", 8, "--address", "local"))
    assert crowded.returncode == 2 and "has no room" in crowded.stderr
