"""A cluster without any node but its head, whose autoscaler starts nodes of declared GPUs: the usual one in a cloud."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from autoscaling_for_tests import OwnAutoscalingCluster
from jobs_for_tests import ROOT, assert_same_bytes, driver, flags

from curator.encoders import MIN_BATCH_SIZE

pytestmark = pytest.mark.slow

PATIENCE = 230.0


@pytest.fixture(scope="module")
def cluster(s3_environment: dict[str, str]) -> Iterator[OwnAutoscalingCluster]:
    paths = os.pathsep.join(str(ROOT / name) for name in ("", "pipelines", "ssl"))
    started = OwnAutoscalingCluster(
        {"gpu": {"resources": {"CPU": 2, "GPU": 1}, "max_workers": 1}},
        s3_environment | {"PYTHONPATH": paths, "CURATOR_TEST_GPUS": "1"},
    )
    try:
        started.start()
        yield started
    finally:
        started.shutdown()


def test_what_no_node_has_is_waited_for_so_long(
    cluster: OwnAutoscalingCluster, settings: dict[str, Any], tmp_path: Path
) -> None:
    asked = {"device": "cuda", "gpus_per_worker": 4, "wait_for_workers": "2s", "address": cluster.address}

    with driver(["select", *flags(out=tmp_path / "run", **settings | asked)], RAY_AUTH_MODE="disabled") as started:
        code, error = started.wait(PATIENCE)

    assert code == 1, error
    assert "waiting for a node with 4 GPU for a worker (the cluster has 1 node with 0 CPUs and 0 GPUs)" in error
    assert "waited 2 s for a node with 4 GPU" in error.splitlines()[-1]
    assert "Traceback" not in error


def test_a_run_from_no_node_at_all(
    cluster: OwnAutoscalingCluster, settings: dict[str, Any], reference: Path, tmp_path: Path
) -> None:
    # Another number of images in a batch would be other bits.
    asked = {"device": "cuda", "address": cluster.address, "batch_size": MIN_BATCH_SIZE}

    with driver(["select", *flags(out=tmp_path / "run", **settings | asked)], RAY_AUTH_MODE="disabled") as started:
        code, error = started.wait(PATIENCE)

    assert code == 0, error + cluster.log()
    assert "waiting for a node with 1 GPU" in error
    assert "1 GPU" in error and "cuda (stand-in of a test)" in error
    assert_same_bytes(str(tmp_path / "run"), str(reference))
