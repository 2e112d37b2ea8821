import builtins
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curator.errors import CuratorError, InputError
from curator_pipelines.config.select import PackConfig, SelectConfig, build
from curator_pipelines.executors import LocalExecutor
from curator_pipelines.jobs.measure.executor import make_executor
from curator_pipelines.stages import RenewStage


@pytest.fixture(autouse=True)
def no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def config(**settings: Any) -> PackConfig:
    return build(PackConfig, {"out": "/run", **settings})


def test_processes_on_this_machine_unless_told() -> None:
    executor = make_executor(config(), "cpu", "/run")

    assert isinstance(executor, LocalExecutor)
    assert executor.workers == 1
    assert make_executor(config(workers="2"), "cpu", "/run").workers == 2
    assert make_executor(config(workers="auto"), "cpu", "/run").workers == 1


@pytest.mark.parametrize("by_variable", [True, False])
def test_a_cluster_by_flag_or_variable(
    by_variable: bool, ray_cluster: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    if by_variable:
        monkeypatch.setenv("RAY_ADDRESS", ray_cluster.address)
    settings = {} if by_variable else {"address": ray_cluster.address}

    assert "3 workers on 3 nodes" in make_executor(config(**settings), "cpu", str(tmp_path)).describe()
    assert make_executor(config(**settings, workers=5), "cpu", str(tmp_path)).workers == 5


def test_a_cluster_without_room_is_told_and_waited_for(ray_cluster: Any, caplog: pytest.LogCaptureFixture) -> None:
    executor = make_executor(config(address=ray_cluster.address, wait_for_workers="0s"), "cuda", None, "fp32")

    assert "room for 0 workers" in caplog.text
    with pytest.raises(CuratorError, match=r"waited 0 s for a node with 1 GPU .*3 nodes with 7 CPUs and 0 GPUs"):
        list(executor.map(RenewStage("/nowhere"), [None, None]))


def test_without_ray_the_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., Any] = builtins.__import__

    def without_ray(name: str, *arguments: Any) -> Any:
        if name == "ray" or name.startswith("ray."):
            raise ModuleNotFoundError(f"No module named '{name}'", name="ray")
        return real(name, *arguments)

    for module in [name for name in sys.modules if name.startswith("curator_pipelines.executors.ray")]:
        monkeypatch.delitem(sys.modules, module)
    # The face of the room remembers what it has loaded.
    monkeypatch.delattr("curator_pipelines.executors.connect", raising=False)
    monkeypatch.setattr(builtins, "__import__", without_ray)

    with pytest.raises(InputError, match="ray is not installed: pip install"):
        make_executor(config(address="local"), "cpu", "/run")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoder", "code", "told"),
    [("timm:test_vit", 0, "running on Ray on this machine"), ("timm:nonsense", 2, "unknown model")],
)
def test_ray_that_starts_beside_the_encoder(encoder: str, code: int, told: str, data: Path, tmp_path: Path) -> None:
    words = [
        "--pool",
        str(data / "pool-0.tar"),
        "--out",
        str(tmp_path / "run"),
        "--encoder",
        encoder,
        "--weights",
        "random",
        "--max-bad",
        "20%",
    ]

    ran = subprocess.run(
        [sys.executable, "-m", "curator_pipelines", "embed", *words, "--address", "local"],
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert ran.returncode == code and told in ran.stderr and "Traceback" not in ran.stderr
    assert code == 0 or len(ran.stderr.splitlines()) == 1


@pytest.mark.parametrize("workers", ["0", "-1", "many"])
def test_nonsense_workers(workers: str) -> None:
    with pytest.raises(InputError, match="workers="):
        build(SelectConfig, {"out": "/run", "target": ["/t"], "pool": ["/p"], "workers": workers})
