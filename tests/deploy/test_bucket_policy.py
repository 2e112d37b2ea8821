"""deploy/bucket/aws-policy.json against a mock S3 that enforces policies: it is enough, and all of it is asked for."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

POLICY = Path(__file__).parents[2] / "deploy" / "bucket" / "aws-policy.json"
ACCOUNT_KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}


@dataclass
class Store:
    """A mock S3 with the buckets `photos` and `runs`, and a user who may do what a policy says.

    Attributes:
        endpoint: its URL.
        asked: action and resource of each request that it judged.
    """

    endpoint: str
    monkeypatch: pytest.MonkeyPatch
    asked: set[tuple[str, str]] = field(default_factory=set)

    def client(self, service: str, keys: Mapping[str, str] = ACCOUNT_KEYS) -> Any:
        import boto3

        return boto3.client(service, endpoint_url=self.endpoint, region_name="us-east-1", **keys)

    def environment_of_user(self, policy: dict[str, Any]) -> dict[str, str]:
        """Make a user with this policy, enforce policies from now on, and return what makes a process that user."""
        iam = self.client("iam")
        # AWS asks for each key that is deleted; the mock asks for the bucket.
        deletes = {"Effect": "Allow", "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::runs"}
        document = policy | {"Statement": [*policy["Statement"], deletes]}
        iam.create_user(UserName="curator")
        iam.put_user_policy(UserName="curator", PolicyName="curator", PolicyDocument=json.dumps(document))
        key = iam.create_access_key(UserName="curator")["AccessKey"]
        self._judge()
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }

    def _judge(self) -> None:
        from moto.iam.access_control import S3IAMRequest

        judge = S3IAMRequest.check_action_permitted

        def note(request: Any, resource: str) -> None:
            self.asked.add((request._action, resource + "/" * (request._action == "s3:DeleteObject")))
            judge(request, resource)

        self.monkeypatch.setattr(S3IAMRequest, "check_action_permitted", note)
        self.monkeypatch.setattr("moto.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0.0)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    server_module = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    store = Store(f"http://{host}:{port}", monkeypatch)
    s3 = store.client("s3")
    for bucket in ("photos", "runs"):
        s3.create_bucket(Bucket=bucket)
    for name, seeds in (("target", range(6)), ("web/000000", range(6, 18)), ("web/000001", range(18, 30))):
        s3.put_object(Bucket="photos", Key=f"{name}.tar", Body=tar_of(seeds))
    yield store
    server.stop()


def tar_of(seeds: range) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for seed in seeds:
            coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
            image = io.BytesIO()
            Image.fromarray(coarse).resize((48, 48)).save(image, "PNG")
            member = tarfile.TarInfo(f"{seed:04d}.png")
            member.size = image.tell()
            tar.addfile(member, io.BytesIO(image.getvalue()))
    return buffer.getvalue()


def policy() -> dict[str, Any]:
    return dict(json.loads(POLICY.read_text().replace("POOL_BUCKET", "photos").replace("OUT_BUCKET", "runs")))


def actions_of(statement: dict[str, Any]) -> list[str]:
    return statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]


def select(environment: dict[str, str], *flags: str) -> None:
    command = [
        *(sys.executable, "-m", "curator_pipelines", "select", "--target", "s3://photos/target.tar"),
        *("--pool", "s3://photos/web/*.tar", "--out", "s3://runs/first", "--budget", "5", "--device", "cpu"),
        *("--encoder", "timm:test_efficientnet", "--weights", "random", *flags),
    ]
    run = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.slow
def test_the_policy_is_enough_and_all_of_it_is_asked_for(store: Store) -> None:
    environment = store.environment_of_user(policy())
    select(environment)
    keys = {name.lower(): environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    store.client("s3", keys).create_multipart_upload(Bucket="runs", Key="first/shards/left-behind.tar")
    select(environment, "--redo", "pack")
    unused = [
        (statement["Sid"], action)
        for statement in policy()["Statement"]
        for action in actions_of(statement)
        if not any(action == asked and fnmatch(resource, statement["Resource"]) for asked, resource in store.asked)
    ]
    assert unused == []
