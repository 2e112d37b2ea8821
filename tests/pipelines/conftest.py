import functools
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import curator.embedding.crash_probe
import curator.encoders.load
from curator.encoders import ENCODERS

HERE = os.path.dirname(__file__)


@pytest.fixture(scope="session", autouse=True)
def encoder_loaded_once() -> Iterator[None]:
    """Drivers in this process share their encoder, and what they know of images; workers find out by themselves."""
    with pytest.MonkeyPatch.context() as patch:
        load = curator.encoders.load.load_encoder
        once = functools.cache(load)

        def load_encoder(spec: str, **named: Any) -> Any:
            # What stands in a file may change, a plug-in's code too.
            in_a_file = spec.startswith("checkpoint:") or named.get("weights") not in (None, "random")
            may_change = in_a_file or ENCODERS.identity(spec) is not None
            return (load if may_change else once)(spec, **named)

        patch.setattr(curator.encoders.load, "load_encoder", load_encoder)
        sound = functools.cache(curator.embedding.crash_probe.sound_images)
        patch.setattr(curator.embedding.crash_probe, "sound_images", lambda images: sound(tuple(images)))
        yield


@pytest.fixture(scope="session")
def ray_cluster(s3_environment: dict[str, str]) -> Iterator[Any]:
    """A Ray cluster of three nodes with 4, 2 and 1 CPUs, on this machine; this process is connected to it.

    A test may add nodes, and remove those that it added.
    """
    import ray
    from ray._private.utils import get_ray_address_file
    from ray.cluster_utils import Cluster

    # Where Ray notes its newest cluster, in whatever folder that has the rest; on a fresh machine it is missing.
    os.makedirs(os.path.dirname(get_ray_address_file(None)), exist_ok=True)

    # What workers import by name: the sources, and the helpers of the tests.
    paths = [*sys.path, *(os.path.join(HERE, name) for name in ("executors", "jobs"))]
    folder = tempfile.mkdtemp(prefix="ray-")  # sockets need a short path
    settings = {"num_cpus": 4, "include_dashboard": False, "temp_dir": folder, "_system_config": QUICK_TO_NOTICE}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        for name, value in s3_environment.items():
            patch.setenv(name, value)
        cluster = Cluster(initialize_head=True, head_node_args=settings)
        for cpus in (2, 1):
            cluster.add_node(num_cpus=cpus)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="CRITICAL")
        yield cluster
        ray.shutdown()
        cluster.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 4,
}


@pytest.fixture
def make_ray(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`make_ray(workers)`: an executor on the cluster of this session."""

    def make(workers: int | None = 1) -> Any:
        cluster = request.getfixturevalue("ray_cluster")
        from curator_pipelines.executors.ray import RayExecutor
        from curator_pipelines.executors.ray_cluster import connect

        return RayExecutor(connect(cluster.address), workers)

    return make
