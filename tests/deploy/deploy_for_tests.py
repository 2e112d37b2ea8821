"""What the tests of deploy/ share: its files, and tools that come from an environment of their own.

`make check-deploy` builds that environment and names its folder of programs in CURATOR_DEPLOY_TOOLS. Without it only
what needs no tool is tested.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"


def run_tool(name: str, *arguments: str) -> str:
    """What a tool prints; it must end well. Skips the test where there is no such tool."""
    folder = os.environ.get("CURATOR_DEPLOY_TOOLS")
    if not folder:
        pytest.skip("CURATOR_DEPLOY_TOOLS names no folder: run make check-deploy")
    path = ROOT / folder / name
    assert path.exists(), f"{path} is missing: make check-deploy installs it"
    done = subprocess.run([str(path), *arguments], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def manifests() -> dict[str, dict[str, Any]]:
    """The objects of deploy/kubernetes by kind; there is one of each."""
    documents = [
        document for path in sorted(KUBERNETES.glob("*.yaml")) for document in yaml.safe_load_all(path.read_text())
    ]
    kinds = {document["kind"]: document for document in documents}
    assert len(kinds) == len(documents)
    return kinds


def cluster_specs() -> dict[str, dict[str, Any]]:
    """The specs of the Ray clusters by the kind of the object they stand in."""
    kinds = manifests()
    return {"RayCluster": kinds["RayCluster"]["spec"], "RayJob": kinds["RayJob"]["spec"]["rayClusterSpec"]}


def pod_templates() -> dict[str, dict[str, Any]]:
    """The pods that the manifests make, by a name for messages."""
    pods = {}
    for kind, spec in cluster_specs().items():
        pods[f"{kind} head"] = spec["headGroupSpec"]["template"]
        pods |= {f"{kind} {group['groupName']}": group["template"] for group in spec["workerGroupSpecs"]}
    return pods | {"RayJob submitter": manifests()["RayJob"]["spec"]["submitterPodTemplate"]}


def as_json(thing: Any) -> str:
    """The thing as a program in another environment gets it."""
    return json.dumps(thing)
