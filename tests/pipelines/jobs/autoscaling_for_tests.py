"""A Ray cluster on this machine whose autoscaler starts and ends nodes."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ray._private.services import get_node_ip_address
from ray.cluster_utils import AutoscalingCluster

START_SECONDS = 120.0
# Lists that the autoscaler wants to see.
EMPTY = (
    "cluster_synced_files",
    "rsync_exclude",
    "rsync_filter",
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)


class OwnAutoscalingCluster(AutoscalingCluster):  # type: ignore[misc]
    """Ray's own, whose wheel lacks a file of it, and which ends all other clusters of the machine with itself.

    Args:
        node_types: name -> resources, min_workers and max_workers of the nodes that it may start. The head has none.
        environment: of all its processes.
    """

    def __init__(self, node_types: dict[str, dict[str, Any]], environment: dict[str, str]) -> None:
        self._environment = environment
        self._folder = tempfile.mkdtemp(prefix="ray-")
        self._port = _free_port()
        self.address = f"{get_node_ip_address()}:{self._port}"
        types = {name: {"node_config": {}, "min_workers": 0, **settings} for name, settings in node_types.items()}
        super().__init__({"CPU": 0}, types, idle_timeout_minutes=0.2)

    def _generate_config(
        self, head_resources: Any, worker_node_types: Any, autoscaler_v2: bool = False, **settings: Any
    ) -> dict[str, Any]:
        head = {"resources": head_resources, "node_config": {}, "max_workers": 0}
        return {
            "cluster_name": "fake_multinode",
            "max_workers": 8,
            "provider": {
                "type": "fake_multinode",
                "gcs_address": self.address,
                "use_node_id_as_ip": True,  # all have one address
                "disable_node_updaters": True,
                "disable_launch_config_check": True,
            },
            "auth": {"ssh_user": "nobody"},
            "available_node_types": {**worker_node_types, "ray.head.default": head},
            "head_node_type": "ray.head.default",
            "upscaling_speed": 1.0,
            "docker": {},
            "file_mounts": {},
            "file_mounts_sync_continuously": False,
            **{name: [] for name in EMPTY},
            **settings,
        }

    def start(self, _system_config: Any = None, override_env: Any = None) -> None:
        """Start it; returns when the head answers."""
        config = Path(self._folder) / "autoscaling.json"
        config.write_text(json.dumps(self._config))
        words = ["--head", "--block", f"--port={self._port}", "--num-cpus=0", "--include-dashboard=false"]
        words += [f"--temp-dir={self._folder}/ray", f"--autoscaling-config={config}", "--dashboard-agent-listen-port=0"]
        with (Path(self._folder) / "log").open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ray.scripts.scripts", "start", *words],
                env=os.environ
                | self._environment
                | {
                    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
                    "RAY_FAKE_CLUSTER": "1",
                    "RAY_USAGE_STATS_ENABLED": "0",
                    "RAY_AUTH_MODE": "disabled",  # a token in the home folder would switch it on
                },
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end = time.monotonic() + START_SECONDS
        while not self._answers():
            assert time.monotonic() < end and self._process.poll() is None, self.log()
            time.sleep(0.2)

    def log(self) -> str:
        """What the head and its autoscaler have said."""
        logs = [Path(self._folder) / "log", *Path(self._folder).glob("ray/session_*/logs/monitor.*")]
        return "\n".join(path.read_text(errors="replace") for path in logs if path.is_file())

    def shutdown(self) -> None:
        """End its own processes, and no others."""
        for pid in [*_descendants(self._process.pid), self._process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        host, _, port = self.address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("", 0))
        port: int = free.getsockname()[1]
    return port


def _descendants(pid: int) -> list[int]:
    """The processes that came from one, the youngest first."""
    found: list[int] = []
    for task in sorted(Path(f"/proc/{pid}/task").glob("*/children")):
        with suppress(FileNotFoundError, ProcessLookupError):
            for child in map(int, task.read_text().split()):
                found = [*_descendants(child), child, *found]
    return found
