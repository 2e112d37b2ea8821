"""Device and precision of a run, on nodes of declared GPUs: a variable for tests says what torch sees there."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from curator.encoders import resolve_device, resolve_precision
from curator.errors import CuratorError, InputError
from curator.settings import build
from curator_pipelines.config import SelectConfig
from curator_pipelines.jobs.measure.executor import executor_begun
from curator_pipelines.jobs.measure.hardware import ChosenHardware

Choose = Callable[..., ChosenHardware]
HERE = resolve_precision("auto", resolve_device("cpu"))


@pytest.fixture
def choose(ray_cluster: Any, tmp_path: Path) -> Choose:
    """What a run into a folder of this test computes with."""

    def chosen(*, keeps: bool = True, waits: bool = True, **settings: Any) -> ChosenHardware:
        values = {"target": ["/t"], "pool": ["/p"], "out": str(tmp_path), "wait_for_workers": "0s"}
        config = build(SelectConfig, {**values, "address": ray_cluster.address, **settings})
        with executor_begun(config, str(tmp_path), keeps=keeps, waits=waits) as hardware:
            return hardware.chosen

    return chosen


@pytest.fixture
def gpu_node(ray_cluster: Any) -> Iterator[Any]:
    """A node with a GPU that torch sees; the test may remove it."""
    node = ray_cluster.add_node(num_cpus=1, num_gpus=1, env_vars={"CURATOR_TEST_GPUS": "1"})
    yield node
    if node in ray_cluster.worker_nodes:
        ray_cluster.remove_node(node)


def test_the_workers_hardware_is_resolved_once_and_kept(
    choose: Choose, gpu_node: Any, ray_cluster: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    on_gpu = choose()

    assert on_gpu == ChosenHardware("cuda", HERE, "cuda (stand-in of a test)", HERE)
    assert json.loads((tmp_path / "hardware.json").read_text())["device"] == "cuda"
    assert not caplog.messages

    assert choose(device="cpu", keeps=False).device == "cpu"
    assert "the cluster has 1 GPU, and the encoder runs on CPUs" in caplog.text

    ray_cluster.remove_node(gpu_node)
    with pytest.raises(CuratorError, match=r"1 GPU for a worker, with which this run was begun .*3 nodes"):
        choose()
    assert choose(waits=False) == ChosenHardware("cuda", HERE, "no node yet", HERE)
    assert choose(redo="embed").device == "cpu"
    assert choose().device == "cpu"


@pytest.mark.slow
def test_gpus_that_torch_does_not_see(choose: Choose, ray_cluster: Any, caplog: pytest.LogCaptureFixture) -> None:
    node = ray_cluster.add_node(num_cpus=1, num_gpus=1)
    try:
        assert choose().device == "cpu"
        assert "the encoder runs on CPUs: no node has one that torch sees" in caplog.text
        with pytest.raises(CuratorError, match="waited 0 s for a node with 1 GPU"):
            choose(device="cuda")
    finally:
        ray_cluster.remove_node(node)
    assert f"({node.node_id[:8]}) is left out: it declares 1 GPU to Ray, and torch sees 0 there" in caplog.text


def test_a_precision_by_name(choose: Choose) -> None:
    assert choose(precision="fp32").precision == "fp32"
    if HERE == "fp32":
        with pytest.raises(CuratorError, match="waited 0 s"):
            choose(precision="bf16")


def test_a_damaged_file(choose: Choose, tmp_path: Path) -> None:
    (tmp_path / "hardware.json").write_text("{}")

    with pytest.raises(InputError, match=r"hardware\.json is damaged"):
        choose()


def test_without_a_cluster_it_is_this_machine(tmp_path: Path) -> None:
    config = build(SelectConfig, {"target": ["/t"], "pool": ["/p"], "out": str(tmp_path)})
    with executor_begun(config, str(tmp_path), keeps=True) as hardware:
        assert hardware.is_here
        assert hardware.chosen.precision == resolve_precision("auto", resolve_device("auto"))

    assert not list(tmp_path.iterdir())
