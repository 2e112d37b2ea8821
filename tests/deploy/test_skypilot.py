"""deploy/skypilot: SkyPilot reads the task, and what the machines run is what the task names."""

from __future__ import annotations

import yaml
from deploy_for_tests import DEPLOY, ROOT, run_tool

TASK = DEPLOY / "skypilot" / "select.yaml"
READ = """
import sys, sky
task = sky.Task.from_yaml(sys.argv[1])
print(task.num_nodes, sorted({str(resources.use_spot) for resources in task.resources}))
"""


def test_sky_reads_it() -> None:
    assert run_tool("python", "-c", READ, str(TASK)).split("\n")[-2] == "4 ['True']"


def test_the_script_gets_what_it_reads() -> None:
    task = yaml.safe_load(TASK.read_text())
    script = (TASK.parent / "run.sh").read_text()
    for name in [*task["envs"], *task["secrets"]]:
        assert name == "RAY_AUTH_TOKEN" or f'"${name}"' in script, name
    assert "bash deploy/skypilot/run.sh" in task["run"]
    assert (ROOT / "deploy" / "retry.sh").exists()
    # No secret has a value here: it comes with the launch.
    assert set(task["secrets"].values()) == {None}
