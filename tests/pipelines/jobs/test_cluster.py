"""The whole job on a Ray cluster of several nodes, which come and go."""

import json
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from jobs_for_tests import HeldScanStage, ShardServer, assert_same_bytes, copy_tree, temporaries, until

from curator.encoders import MIN_BATCH_SIZE, hash_tensors
from curator.encoders.load import load_backbone
from curator_pipelines.executors import Executor
from curator_pipelines.jobs.select import choose_search

Run = Callable[..., Any]
Copy = Callable[..., Path]

LAST = "pool-3.tar"


@pytest.fixture
def without(served_reference: Path, tmp_path: Path) -> Copy:
    """`without(*folders)`: a finished run that lacks these, and so goes on there."""

    def copy(*folders: str) -> Path:
        out = tmp_path / "run"
        shutil.copytree(served_reference, out)
        for folder in folders:
            shutil.rmtree(out / folder)
        return out

    return copy


def is_told(text: str) -> bool:
    """Whether the loss was said: of a node that had said it would leave, or of one that had not come to that."""
    return "goes on elsewhere" in text or "a worker was lost" in text


@contextmanager
def node_lost(ray_cluster: Any, begun: Callable[[], bool], go_on: Callable[[], None]) -> Iterator[Executor]:
    """An executor on a node that joined just now and is removed once `begun`; another one stands by."""
    from curator_pipelines.executors.ray import RayExecutor
    from curator_pipelines.executors.ray_cluster import Cluster, Node

    doomed = ray_cluster.add_node(num_cpus=1)
    seen = {doomed.node_id}

    class PartlyHidden(Cluster):
        def nodes(self) -> list[Node]:
            return [node for node in super().nodes() if node.id in seen]

    spare = next(node.id for node in Cluster("all", "").nodes() if node.cpus == 2)
    executor = RayExecutor(PartlyHidden("some", ""), 2)

    def lose_it() -> None:
        until(begun, "the work has begun on the node")
        seen.add(spare)
        ray_cluster.remove_node(doomed)
        go_on()

    thread = threading.Thread(target=lose_it)
    thread.start()
    yield executor
    thread.join()


@pytest.mark.parametrize(
    "folders",
    [
        pytest.param(("pool", "selection", "shards"), id="embed", marks=pytest.mark.slow),
        pytest.param(("shards",), id="pack", marks=pytest.mark.slow),
    ],
)
def test_a_node_is_lost(
    folders: tuple[str, ...],
    ray_cluster: Any,
    server: ShardServer,
    served: dict[str, Any],
    served_reference: Path,
    without: Copy,
    run_on: Run,
    caplog: pytest.LogCaptureFixture,
) -> None:
    out = without(*folders)
    with (
        server.holding(LAST),
        node_lost(ray_cluster, server.reached.is_set, server.released.set) as executor,
    ):
        run_on(executor, out=str(out), **served)

    assert is_told(caplog.text)
    assert_same_bytes(str(out), str(served_reference))
    assert not temporaries(out)


def test_a_node_is_lost_in_search(
    ray_cluster: Any,
    served: dict[str, Any],
    served_reference: Path,
    without: Copy,
    run_on: Run,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = without("selection", "shards")
    monkeypatch.setattr(choose_search, "ScanStage", HeldScanStage)
    begun, released = out.parent / "begun", out.parent / "released"
    with node_lost(ray_cluster, begun.exists, released.touch) as executor:
        run_on(executor, out=str(out), **served)

    assert is_told(caplog.text)
    assert_same_bytes(str(out), str(served_reference))


@pytest.mark.slow
def test_s3_out(
    make_ray: Callable[..., Executor], run_on: Run, settings: dict[str, Any], reference: Path, s3_bucket: str
) -> None:
    run_on(make_ray(None), out=f"{s3_bucket}/some/run", **settings)

    assert_same_bytes(f"{s3_bucket}/some/run", str(reference))


@pytest.mark.slow
def test_s3_to_s3(
    make_ray: Callable[..., Executor], run: Run, run_on: Run, settings: dict[str, Any], data: Path, s3_bucket: str
) -> None:
    copy_tree(str(data), f"{s3_bucket}/data")
    pool = [f"{s3_bucket}/data/pool-{number}.tar" for number in range(4)]
    moved = settings | {"target": [f"{s3_bucket}/data/target"], "pool": pool, "deny": f"{s3_bucket}/data/deny.txt"}
    run(out=f"{s3_bucket}/one", **moved)

    run_on(make_ray(None), out=f"{s3_bucket}/many", **moved)

    assert_same_bytes(f"{s3_bucket}/many", f"{s3_bucket}/one")


@pytest.mark.slow
def test_actors_stand_in_another_folder(
    make_ray: Callable[..., Executor],
    run_on: Run,
    settings: dict[str, Any],
    reference: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.save(load_backbone(settings["encoder"], "random").model.state_dict(), tmp_path / "weights.pt")
    executor = make_ray(2)
    monkeypatch.chdir(tmp_path)

    run_on(
        executor, out="run", **settings | {"encoder": f"checkpoint:weights.pt@{settings['encoder']}", "weights": None}
    )

    assert_same_bytes(str(tmp_path / "run"), str(reference))


@pytest.mark.slow
def test_gpus_of_the_nodes_and_none_here(
    ray_cluster: Any,
    run_on: Run,
    settings: dict[str, Any],
    reference: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sound = ray_cluster.add_node(num_cpus=1, num_gpus=1, env_vars={"CURATOR_TEST_GPUS": "1"})
    broken = ray_cluster.add_node(num_cpus=1, num_gpus=1)
    given = {"device": "auto", "batch_size": MIN_BATCH_SIZE}  # another number of images would be other bits
    signal.alarm(600)  # five nodes, each of which starts processes that import torch
    try:
        run_on(None, out=str(tmp_path / "run"), address=ray_cluster.address, **settings | given)
    finally:
        for node in (sound, broken):
            ray_cluster.remove_node(node)

    assert_same_bytes(str(tmp_path / "run"), str(reference))
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["provenance"]["pool"]["device"] == "cuda (stand-in of a test)"
    assert f"({broken.node_id[:8]}) is left out" in caplog.text


@pytest.mark.slow
def test_a_warm_up_is_trained_by_a_worker(
    ray_cluster: Any, run_on: Run, settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warmup = {"encoder": ["warmup"], "weights": None, "warmup_epochs": 1}
    signal.alarm(600)

    run_on(None, out=str(tmp_path / "run"), address=ray_cluster.address, **settings | warmup)

    assert (tmp_path / "run" / "encoder.pt").exists()
    assert "training on Ray at" in capsys.readouterr().err
    # The machine of the driver and those of the workers are one here, and so is what they train.
    run_on(None, out=str(tmp_path / "here"), **settings | warmup)
    assert hash_of(tmp_path / "run") == hash_of(tmp_path / "here")


def hash_of(out: Path) -> str:
    return hash_tensors(load_backbone(f"checkpoint:{out}/encoder.pt").model)
