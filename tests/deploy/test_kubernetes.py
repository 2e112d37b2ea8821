"""The manifests of deploy/kubernetes: fields that exist, pods that are locked down, names that fit each other.

Pods and the objects of Kubernetes itself are checked by its own schemas (`make check-deploy`). KubeRay's are not
shipped here: the fields of its objects that we use are listed below, as its reference for version 1.6 has them.
"""

from __future__ import annotations

import shlex
from importlib.metadata import requires
from typing import Any

import pytest
from deploy_for_tests import KUBERNETES, as_json, cluster_specs, manifests, pod_templates, run_tool
from packaging.requirements import Requirement
from packaging.version import Version

from curator_pipelines.cli.main import cli

# Anything else is refused, so that a new field is looked up before it is relied on. A tuple is an enumeration.
POD = "pod"
TEXT_MAP = {"*": str}
RESOURCES = {"requests": {"*": str}, "limits": {"*": str}}
CLUSTER: dict[str, Any] = {
    "rayVersion": str,
    "authOptions": {"mode": ("token",), "secretName": str},
    "enableInTreeAutoscaling": bool,
    "autoscalerOptions": {
        "version": ("v2",),
        "idleTimeoutSeconds": int,
        "resources": RESOURCES,
        "securityContext": {"allowPrivilegeEscalation": bool, "capabilities": {"drop": [str]}},
    },
    "headGroupSpec": {"rayStartParams": TEXT_MAP, "template": POD},
    "workerGroupSpecs": [
        {
            "groupName": str,
            "replicas": int,
            "minReplicas": int,
            "maxReplicas": int,
            "rayStartParams": TEXT_MAP,
            "template": POD,
        }
    ],
}
JOB: dict[str, Any] = {
    "entrypoint": str,
    "backoffLimit": int,
    "submissionMode": ("K8sJobMode",),
    "submitterConfig": {"backoffLimit": int},
    "submitterPodTemplate": POD,
    "shutdownAfterJobFinishes": bool,
    "ttlSecondsAfterFinished": int,
    "rayClusterSpec": CLUSTER,
}


def check_fields(value: Any, fields: Any, place: str) -> None:
    """Fail at what `fields` does not know."""
    match fields:
        case "pod":
            assert isinstance(value, dict), place
        case dict():
            for name, inner in value.items():
                assert name in fields or "*" in fields, f"{place}.{name} is not known here: look it up and list it"
                check_fields(inner, fields.get(name, fields.get("*")), f"{place}.{name}")
        case list():
            for number, inner in enumerate(value):
                check_fields(inner, fields[0], f"{place}[{number}]")
        case tuple():
            assert value in fields, place
        case _:
            assert type(value) is fields, f"{place} is {value!r}"


@pytest.mark.parametrize(("kind", "fields"), [("RayCluster", CLUSTER), ("RayJob", JOB)])
def test_the_fields_are_kuberays(kind: str, fields: dict[str, Any]) -> None:
    document = manifests()[kind]
    assert document["apiVersion"] == "ray.io/v1"
    check_fields(document["spec"], fields, kind)


def test_an_unknown_field_is_noticed() -> None:
    with pytest.raises(AssertionError, match=r"RayJob\.backofLimit is not known"):
        check_fields({"backofLimit": 0}, JOB, "RayJob")
    with pytest.raises(AssertionError, match="minReplicas is '0'"):
        check_fields({"workerGroupSpecs": [{"minReplicas": "0"}]}, CLUSTER, "RayCluster")


def test_both_make_the_same_cluster() -> None:
    specs = cluster_specs()
    assert specs["RayCluster"] == specs["RayJob"]


def test_rays_version_is_the_one_of_the_image_and_knows_tokens() -> None:
    constraints = (KUBERNETES.parents[1] / "constraints.txt").read_text().splitlines()
    pinned = next(line.removeprefix("ray==") for line in constraints if line.startswith("ray=="))
    for spec in cluster_specs().values():
        assert spec["rayVersion"] == pinned
    assert Version(pinned) >= Version("2.52")
    needed = [Requirement(text) for text in requires("coreset-curator") or []]
    assert all(pinned in requirement.specifier for requirement in needed if requirement.name == "ray")


@pytest.mark.parametrize("name", sorted(pod_templates()))
def test_a_pod_is_nobody_special(name: str) -> None:
    spec = pod_templates()[name]["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["runAsUser"] == 1000
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    # Only the head asks the Kubernetes API for pods.
    assert name.endswith("head") or spec["automountServiceAccountToken"] is False
    for container in spec["containers"]:
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        limits = container["resources"]["limits"]
        assert set(limits) >= {"cpu", "memory"}


def test_workers_have_the_gpu_and_the_head_takes_no_work() -> None:
    spec = cluster_specs()["RayCluster"]
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (group,) = spec["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert container["image"].endswith(":cuda")
    assert group["minReplicas"] == 0 < group["maxReplicas"]


def test_the_network_policy_is_of_all_pods_and_closed_to_others() -> None:
    policy = manifests()["NetworkPolicy"]["spec"]
    label = policy["podSelector"]["matchLabels"]
    for name, pod in pod_templates().items():
        assert label.items() <= pod["metadata"]["labels"].items(), name
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert all(rule["from"] for rule in policy["ingress"])
    dashboards = [rule["ports"] for rule in policy["ingress"] if "ports" in rule]
    assert dashboards == [[{"protocol": "TCP", "port": 8265}]]


def test_names_that_must_fit_do() -> None:
    account = manifests()["ServiceAccount"]["metadata"]["name"]
    secrets = {spec["authOptions"]["secretName"] for spec in cluster_specs().values()}
    assert secrets == {"curator-token"}
    for name, pod in pod_templates().items():
        assert pod["spec"].get("serviceAccountName", account) == account, name
        for container in pod["spec"]["containers"]:
            for source in container.get("envFrom", []):
                assert source == {"secretRef": {"name": "curator-bucket", "optional": True}}


def test_the_job_retries_by_exit_code_only_and_its_words_are_a_command() -> None:
    spec = manifests()["RayJob"]["spec"]
    assert spec["backoffLimit"] == 0
    wrapper, program, *words = shlex.split(spec["entrypoint"])
    assert (wrapper, program) == ("curator-retry", "curator")
    command = cli.get_command(None, words[0])  # type: ignore[arg-type]
    assert command is not None
    context = command.make_context(words[0], words[1:], resilient_parsing=True)
    assert not context.args


VALIDATE = """
import json, sys, kubernetes_validate
for document in json.loads(sys.argv[1]):
    kubernetes_validate.validate(document, "1.33", strict=True)
"""


def test_kubernetes_own_schemas() -> None:
    documents = [document for kind, document in manifests().items() if not kind.startswith("Ray")]
    for name, pod in pod_templates().items():
        metadata = {"name": name.lower().replace(" ", "-"), **pod["metadata"]}
        documents.append({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod["spec"]})
    run_tool("python", "-c", VALIDATE, as_json(documents))
