"""A shard that was written again and cannot be read while the pool is updated: it costs itself, and no good part."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jobs_for_tests import CountsTasks, ShardServer, differing, files_of, inodes, ledger, line_of, table

from curator.errors import CuratorError
from curator.store import DoneMark
from curator_pipelines.executors import Task, WorkerContext
from curator_pipelines.jobs.queries.verify_run import verify
from curator_pipelines.jobs.select import update_parts
from curator_pipelines.run.progress import Reporter
from curator_pipelines.stages import RenewStage, RenewTask

Run = Callable[..., Any]
Counted = Callable[..., CountsTasks]

# Of the files of the run those that tell nothing of the versions of shards.
RESULTS = ("pool/img_emb", "pool/metadata", "selection/selected", "selection/rounds", "shards/curated")


class StarvedRenewStage(RenewStage):
    """One shard needs more memory than there is, however often it is tried."""

    def open(self, context: WorkerContext) -> Callable[[Task[RenewTask]], DoneMark | None]:
        handle = super().open(context)

        def renew_or_fail(task: Task[RenewTask]) -> DoneMark | None:
            if task.payload.source.name.endswith("pool-2.tar"):
                raise MemoryError("its images need more memory than there is")
            return handle(task)

        return renew_or_fail


@pytest.fixture
def out(served_reference: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(served_reference, tmp_path / "run"))


@pytest.fixture
def touched(server: ShardServer, served: dict[str, Any], out: Path) -> Iterator[dict[str, Any]]:
    """Settings of the same run over a pool whose shards were all written again, with the same bytes."""
    server.version = "again"
    yield served | {"out": str(out), "update_pool": True, "max_bad": 0.5}
    server.version = ""


def states(out: Path) -> list[str]:
    return [row["state"] for row in table(str(out), "pool", "parts.parquet")]


def results(out: Path) -> dict[str, bytes]:
    return {name: data for name, data in files_of(str(out)).items() if name.startswith(RESULTS)}


def renewals(done: CountsTasks) -> list[str]:
    return [task.source.name.rpartition("/")[2] for task in done.payloads if isinstance(task, RenewTask)]


@pytest.mark.slow
def test_one_that_is_denied_is_a_line_and_read_again_later(
    server: ShardServer, counted: Counted, touched: dict[str, Any], out: Path, served_reference: Path
) -> None:
    before = inodes(out / "pool" / "img_emb")
    with server.failing_at("pool-2.tar"):
        done = counted(**touched)

    assert done.embedded == []
    assert states(out) == ["active", "active", "kept", "active"]
    assert [name for name in before if "00000002-" in name] == [
        name for name, state in inodes(out / "pool" / "img_emb").items() if before.get(name) == state
    ]
    lines = sorted(line_of(row) for row in ledger(str(out)))
    assert lines == [("pool-0.tar", "0002", "decode_error"), ("pool-2.tar", "", "unreadable_shard")]
    assert 2 not in {row["id"] >> 32 for row in table(str(out), "selection", "selected.parquet")}
    assert verify(str(out), Reporter()).differences == [
        f"pool part 2 ({server.url}/pool-2.tar) is not finished: run again"
    ]

    again = counted(**touched)

    assert again.embedded == []
    assert renewals(again) == ["pool-2.tar"]
    assert states(out) == ["active"] * 4
    assert differing(results(out), results(served_reference)) == []
    assert verify(str(out), Reporter()).differences == []


@pytest.mark.slow
def test_one_whose_former_version_comes_back_is_as_it_was(
    server: ShardServer, counted: Counted, touched: dict[str, Any], out: Path, served_reference: Path
) -> None:
    with server.failing_at("pool-2.tar"):
        counted(**touched)
    server.version = ""

    # The three others are other versions now, and hold the same once more.
    done = counted(**touched)

    assert done.embedded == []
    assert renewals(done) == ["pool-0.tar", "pool-1.tar", "pool-3.tar"]
    assert states(out) == ["active"] * 4
    assert differing(files_of(str(out)), files_of(str(served_reference))) == []


@pytest.mark.parametrize("status", [503, 500])
@pytest.mark.slow
def test_a_server_that_fails_ends_it_when_all_else_is_done(
    server: ShardServer, counted: Counted, touched: dict[str, Any], out: Path, served_reference: Path, status: int
) -> None:
    with (
        server.failing_at("pool-2.tar", status),
        pytest.raises(CuratorError, match=rf"pool-2\.tar.*HTTP {status}") as caught,
    ):
        counted(**touched)
    assert caught.value.exit_code == 1
    assert states(out) == ["active", "active", "kept", "active"]

    done = counted(**touched)

    assert (done.embedded, renewals(done)) == ([], ["pool-2.tar"])
    assert differing(results(out), results(served_reference)) == []


@pytest.mark.slow
def test_one_that_kills_its_workers_is_named_then_given_up(
    counted: Counted, touched: dict[str, Any], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(update_parts, "RenewStage", StarvedRenewStage)
    with pytest.raises(CuratorError, match=r"1 shard kills its workers.*pool-2\.tar.*give_up_shards") as caught:
        counted(**touched)
    assert caught.value.exit_code == 1
    assert states(out) == ["active", "active", "kept", "active"]

    done = counted(**touched | {"give_up_shards": True})

    assert (done.embedded, renewals(done)) == ([], ["pool-2.tar"])
    assert ("pool-2.tar", "", "unreadable_shard") in [line_of(row) for row in ledger(str(out))]
    assert (out / "shards" / "sizes.json").exists()


def test_credentials_that_expire_stop_it_and_retire_nothing(
    server: ShardServer, counted: Counted, touched: dict[str, Any], out: Path, served_reference: Path
) -> None:
    before = table(str(out), "pool", "parts.parquet")
    with server.expiring_after(2), pytest.raises(CuratorError, match="cannot be read any more") as caught:
        counted(**touched)
    assert caught.value.exit_code == 1
    assert all(row["state"] != "retired" for row in table(str(out), "pool", "parts.parquet"))
    assert len(table(str(out), "pool", "parts.parquet")) == len(before)

    done = counted(**touched)

    # What was renewed before is not read again.
    assert (done.embedded, renewals(done)) == ([], ["pool-2.tar", "pool-3.tar"])
    assert differing(results(out), results(served_reference)) == []
