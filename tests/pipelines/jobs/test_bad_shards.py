"""Shards that cannot be read, stores that fail, and how much of that is too much."""

import errno
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from jobs_for_tests import (
    ROOT,
    CountsTasks,
    ShardServer,
    assert_same_bytes,
    beside_chance,
    curator,
    files_of,
    flags,
    inodes,
    ledger,
    line_of,
    temporaries,
)
from s3fs import S3FileSystem  # type: ignore[import-untyped]

from curator.errors import CuratorError, TooManyBad, UnusableInput
from curator_pipelines.cli.main import run as run_command
from curator_pipelines.jobs.queries.verify_run import verify
from curator_pipelines.run.progress import Reporter

Run = Callable[..., Any]
Counted = Callable[..., CountsTasks]


class TestUnreadableShard:
    def test_is_a_line_and_tried_again(
        self,
        server: ShardServer,
        counted: Counted,
        served: dict[str, Any],
        served_reference: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        out = str(tmp_path / "run")
        with server.failing_at("pool-2.tar"):
            counted(out=out, **served | {"max_bad": 0.5})
            selection = tmp_path / "run" / "selection" / "selection.json"
            assert json.loads(selection.read_bytes())["unreadable_shards"] == [f"{server.url}/pool-2.tar"]

        lines = [line_of(row) for row in ledger(out)]
        assert sorted(lines) == [("pool-0.tar", "0002", "decode_error"), ("pool-2.tar", "", "unreadable_shard")]
        assert verify(out, Reporter()).differences == [
            f"pool part 2 ({server.url}/pool-2.tar) is not finished: run again"
        ]

        capsys.readouterr()
        assert counted(out=out, **served).embedded == ["pool-2.tar"]
        anew = "select: anew, since a shard could not be read before and can be read now"
        assert f"{anew}: {server.url}/pool-2.tar" in capsys.readouterr().err
        assert json.loads(selection.read_bytes())["unreadable_shards"] == []
        assert_same_bytes(out, str(served_reference))

    def test_nothing_that_a_run_leaves_shows_a_signature(
        self, server: ShardServer, run: Run, served: dict[str, Any], tmp_path: Path
    ) -> None:
        signed = [url.replace("://", "://me:word@") + "?X-Amz-Signature=secret" for url in served["pool"]]
        with server.failing_at("pool-2.tar"):
            run(out=str(tmp_path / "run"), **served | {"pool": ["::".join(signed)], "max_bad": 0.5})

        files = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert len(beside_chance(json.loads(files[Path("run/run.json")])["warnings"])) == 1
        assert [name for name, data in files.items() if b"secret" in data or b"word" in data] == []

    @pytest.mark.slow
    def test_counts_with_its_samples(
        self, server: ShardServer, counted: Counted, run: Run, served: dict[str, Any], tmp_path: Path
    ) -> None:
        # Six of 60 samples, or nearly, since the others' bytes say how many; with the damaged one about a tenth.
        out = str(tmp_path / "run")
        with server.failing_at("pool-2.tar"):
            with pytest.raises(TooManyBad, match=r"of the pool are bad .* more than 5\.00%; the first: .*max_bad"):
                run(out=out, **served | {"max_bad": 0.05})
            kept = inodes(tmp_path / "run" / "pool")
            assert len([name for name in kept if name.startswith("done/")]) == 3
            assert ("pool-2.tar", "", "unreadable_shard") in [line_of(row) for row in ledger(out)]
            assert not (tmp_path / "run" / "selection").exists()

            tasks = counted(out=out, **served | {"max_bad": 0.2})

        # The unreadable one was tried again, and nothing else.
        assert tasks.embedded == ["pool-2.tar"]
        assert inodes(tmp_path / "run" / "pool") == kept

    def test_pool_of_nothing_else(self, server: ShardServer, run: Run, served: dict[str, Any], tmp_path: Path) -> None:
        only = {"pool": [f"{server.url}/pool-2.tar"]}
        with server.failing_at("pool-2.tar", 404), pytest.raises(TooManyBad, match="1 of 1 samples"):
            run(out=str(tmp_path / "run"), **served | only)

    @pytest.mark.slow
    def test_exit_code_3_in_words(self, own_data: Path, settings: dict[str, Any], tmp_path: Path) -> None:
        names = ("encoder", "weights", "device", "precision")
        mine = {name: settings[name] for name in names} | {"pool": str(own_data / "pool-0.tar")}

        code, error = curator(["embed", *flags(out=tmp_path / "run", max_bad=0.01, **mine)])

        assert code == 3
        last = error.splitlines()[-1]
        assert last.startswith(
            "curator: 1 of 10 samples of the pool are bad (10.00%), more than 1.00%; the first: 0002 in"
        )
        assert "pool-0.tar (decode_error, " in last
        assert "Traceback" not in error
        assert len(list((tmp_path / "run" / "pool" / "done").iterdir())) == 1


class TestStoreThatFails:
    """What the store says of all shards alike is no damage of theirs: nothing of it is in the ledger."""

    @pytest.mark.parametrize("shards", [1, 2, 3])
    @pytest.mark.slow
    def test_credentials_that_expire(
        self,
        shards: int,
        server: ShardServer,
        run: Run,
        served: dict[str, Any],
        served_reference: Path,
        tmp_path: Path,
    ) -> None:
        out = str(tmp_path / "run")
        with (
            server.expiring_after(shards),
            pytest.raises(
                CuratorError, match=r"which was read before, cannot be read any more \(access denied"
            ) as caught,
        ):
            run(out=out, **served | {"max_bad": 0.9})
        assert caught.value.exit_code == 1
        assert "unreadable_shard" not in [line_of(row)[2] for row in ledger(out)]
        assert len(list(Path(out, "pool", "done").iterdir())) == shards

        run(out=out, **served)

        assert_same_bytes(out, str(served_reference))

    def test_a_server_that_fails(
        self, server: ShardServer, run: Run, served: dict[str, Any], served_reference: Path, tmp_path: Path
    ) -> None:
        out = str(tmp_path / "run")
        with (
            server.failing_at("pool-2.tar", 503),
            pytest.raises(
                CuratorError, match=r"pool-2\.tar: the server failed \(HTTP 503\)|pool-2.*HTTP 503"
            ) as caught,
        ):
            run(out=out, **served | {"max_bad": 0.9})
        assert caught.value.exit_code == 1
        # All else is done.
        assert len(list(Path(out, "pool", "done").iterdir())) == 3

        run(out=out, **served)

        assert_same_bytes(out, str(served_reference))

    def test_nothing_can_be_read_at_all(
        self, server: ShardServer, run: Run, served: dict[str, Any], tmp_path: Path
    ) -> None:
        only = {"pool": [f"{server.url}/pool-2.tar"]}
        with (
            server.failing_at("pool-2.tar"),
            pytest.raises(UnusableInput, match=r"nothing could be read yet: .*pool-2.*credentials that are set"),
        ):
            run(out=str(tmp_path / "run"), **served | only)


class TestHowManyMayBeBad:
    @pytest.mark.slow
    def test_where_nothing_is_said_and_where_a_run_was_told(
        self, own_data: Path, settings: dict[str, Any], tmp_path: Path
    ) -> None:
        """One bad of ten is an ordinary folder; what a run was told once holds until it is told another thing."""
        names = ("encoder", "weights", "device", "precision")
        mine = ["embed", *flags(**{name: settings[name] for name in names} | {"pool": str(own_data / "pool-0.tar")})]
        out = ["--out", str(tmp_path / "run")]

        assert run_command([*mine, *out]) == 0
        assert run_command([*mine, *out, "--max-bad", "1%"]) == 3
        assert run_command([*mine, *out]) == 3
        assert run_command([*mine, *out, "--max-bad", "10%"]) == 0
        assert run_command([*mine, *out]) == 0


class TestFailingSource:
    @pytest.mark.slow
    def test_while_packing(
        self,
        server: ShardServer,
        counted: Counted,
        served: dict[str, Any],
        served_reference: Path,
        tmp_path: Path,
    ) -> None:
        out = tmp_path / "run"
        counted(out=str(out), **served | {"manifest_only": True})
        with (
            server.failing_at("pool-3.tar"),
            pytest.raises(CuratorError, match=r"pool-3\.tar cannot be read") as caught,
        ):
            counted(out=str(out), **served)

        assert caught.value.exit_code == 1
        assert not (out / "shards" / "sizes.json").exists()
        assert not temporaries(out)
        standing = {path.name: path.stat().st_ino for path in (out / "shards").glob("*.tar")}
        for name in standing:
            with tarfile.open(out / "shards" / name) as tar:
                assert len(tar.getnames()) == 12
        assert 0 < len(standing) < 4

        tasks = counted(out=str(out), **served)

        assert tasks.embedded == []
        assert tasks.packed == 4 - len(standing)
        assert_same_bytes(str(out), str(served_reference))


class TestFullDisk:
    """A limit on the size of files stands for a disk that is full: the write fails in the middle."""

    @pytest.mark.parametrize("limit", [2_500, pytest.param(9_000, marks=pytest.mark.slow)])
    @pytest.mark.slow
    def test_nothing_half_written(
        self, limit: int, run: Run, settings: dict[str, Any], reference: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "run"
        # Under the limit Python would leave half a module cache behind, for every later process to trip over.
        environment = {"PATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
        result = subprocess.run(
            [sys.executable, "-c", LIMITED, str(limit), *flags(out=out, **settings | {"shard_size": 2})],
            cwd=ROOT,
            env=environment | {"PYTHONPATH": ":".join(map(str, (ROOT, ROOT / "pipelines", ROOT / "ssl", HERE)))},
            capture_output=True,
            text=True,
            check=False,
        )

        assert result.returncode == 1, result.stderr
        assert "Traceback" not in result.stderr
        assert result.stderr.splitlines()[-1].startswith("curator: ")
        assert not temporaries(out)
        whole = {name: data for name, data in files_of(str(out)).items() if name != "quarantine.parquet"}
        fresh = str(tmp_path / "fresh")
        run(out=fresh, **settings | {"shard_size": 2})
        expected = files_of(fresh)
        # What stands is what will stand; packing's own marks go when it is done.
        assert {n: d for n, d in whole.items() if not n.startswith("packing/") and d != expected.get(n)} == {}

        run(out=str(out), **settings | {"shard_size": 2})

        assert_same_bytes(str(out), fresh)


HERE = Path(__file__).parent
LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that a write fails, as on a full disk
from curator_pipelines.cli.main import run
from curator_pipelines.executors import InProcessExecutor
from curator_pipelines.jobs.select import prepare
import torch, timm  # before the limit: they write caches
prepare.make_executor = lambda *arguments, **named: InProcessExecutor()
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.exit(run(["select", *sys.argv[2:]]))
"""


class TestFailingStore:
    """An object store that refuses some writes."""

    @pytest.mark.parametrize(
        "name",
        [
            pytest.param("parts.parquet", marks=pytest.mark.slow),
            pytest.param("img_emb_00000002-", marks=pytest.mark.slow),
            "metadata_00000001-",
            pytest.param("done/00000001-", marks=pytest.mark.slow),
            pytest.param("centroids.npy", marks=pytest.mark.slow),
            pytest.param("selected.parquet", marks=pytest.mark.slow),
            "selection.json",
            pytest.param("quarantine.parquet", marks=pytest.mark.slow),
            pytest.param("curated-000001.tar", marks=pytest.mark.slow),
            pytest.param("manifest.parquet", marks=pytest.mark.slow),
            "sizes.json",
        ],
    )
    @pytest.mark.slow
    def test_the_rerun_works(
        self,
        name: str,
        run: Run,
        settings: dict[str, Any],
        reference: Path,
        s3_bucket: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        out = f"{s3_bucket}/run"
        put = S3FileSystem._put_file
        refused: list[str] = []

        async def put_or_fail(self: Any, local: str, remote: str, *args: Any, **named: Any) -> Any:
            if name in remote and not refused:
                refused.append(remote)
                # Not a failure that may pass: that would be tried again until it goes through.
                raise OSError(errno.EDQUOT, "the store is full")
            return await put(self, local, remote, *args, **named)

        with monkeypatch.context() as patch:
            patch.setattr(S3FileSystem, "_put_file", put_or_fail)
            # fsspec keeps its filesystems, and each keeps the methods that it was made with.
            S3FileSystem.clear_instance_cache()
            with pytest.raises((CuratorError, OSError), match="the store is full"):
                run(out=out, **settings)
        S3FileSystem.clear_instance_cache()
        assert len(refused) == 1
        expected = files_of(str(reference))
        standing = {n: d for n, d in files_of(out).items() if not n.startswith("packing/") and d != expected.get(n)}
        # A ledger of the parts that are there is whole, if shorter.
        assert set(standing) <= {"quarantine.parquet"}
        for data in standing.values():
            assert pq.read_table(io.BytesIO(data)).num_rows <= 1

        run(out=out, **settings)

        assert_same_bytes(out, str(reference))
