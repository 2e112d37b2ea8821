"""OUT in an object store: what an interrupted run leaves on this machine and in the store."""

import signal
from pathlib import Path
from typing import Any

import pytest
from jobs_for_tests import ShardServer, driver, flags, until

from curator.io import storage

LAST = "pool-3.tar"


@pytest.fixture
def selected(served_reference: Path, s3_bucket: str) -> str:
    """The run as it is when all but packing is done, in the store."""
    for path, _ in storage.list_tree(str(served_reference)):
        if not path.startswith("shards/"):
            storage.write_bytes(f"{s3_bucket}/run/{path}", (served_reference / path).read_bytes())
    return f"{s3_bucket}/run"


def test_an_interrupted_packing_leaves_nothing(
    server: ShardServer, selected: str, s3_client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    bucket = selected.split("/")[2]

    def left() -> list[Path]:
        return list(scratch.glob("*curator-*"))

    with server.holding(LAST), driver(["pack", *flags(out=selected, shard_size=6, seed=3)]) as started:
        until(server.reached.is_set, "a worker builds an output shard")
        assert left()
        s3_client.create_multipart_upload(Bucket=bucket, Key="run/shards/curated-000000.tar")
        started.signal_group(signal.SIGINT)
        code, error = started.wait()

    assert code == 130, error
    assert not left()
    assert not s3_client.list_multipart_uploads(Bucket=bucket).get("Uploads")
