"""A shard that kills every worker although none of its images is guilty: all else is done, and the shard is named."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jobs_for_tests import assert_same_bytes, ledger, line_of

from curator.errors import CuratorError, TooManyBad
from curator.store import DoneMark
from curator_pipelines.executors import Executor, InProcessExecutor, LocalExecutor, Task, WorkerContext
from curator_pipelines.jobs.select import embed
from curator_pipelines.stages.embed import EmbedStage, EmbedTask

Run = Callable[..., Any]
Settings = dict[str, Any]

KILLER = "pool-2.tar"


class KilledEmbedStage(EmbedStage):
    """Every worker that takes one shard is killed, as by a system without memory."""

    def open(self, context: WorkerContext) -> Callable[[Task[EmbedTask]], DoneMark]:
        handle = super().open(context)

        def embed_or_die(task: Task[EmbedTask]) -> DoneMark:
            if task.payload.source.name.endswith(KILLER):
                os.kill(os.getpid(), signal.SIGKILL)
            return handle(task)

        return embed_or_die


class StarvedEmbedStage(EmbedStage):
    """The same in the calling process, where Python says so instead."""

    def open(self, context: WorkerContext) -> Callable[[Task[EmbedTask]], DoneMark]:
        handle = super().open(context)

        def embed_or_fail(task: Task[EmbedTask]) -> DoneMark:
            if task.payload.source.name.endswith(KILLER):
                raise MemoryError("its images need more memory than there is")
            return handle(task)

        return embed_or_fail


@pytest.fixture(params=[pytest.param("local", marks=pytest.mark.slow), "in process"])
def killed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Executor:
    """An executor in which nobody survives the shard."""
    local = request.param == "local"
    monkeypatch.setattr(embed, "EmbedStage", KilledEmbedStage if local else StarvedEmbedStage)
    return LocalExecutor(workers=1) if local else InProcessExecutor()


@pytest.fixture
def out(reference: Path, tmp_path: Path) -> Path:
    """The run as it is when only its target is embedded."""
    shutil.copytree(reference, tmp_path / "run")
    for name in ("pool", "selection", "shards"):
        shutil.rmtree(tmp_path / "run" / name)
    (tmp_path / "run" / "quarantine.parquet").unlink()
    return tmp_path / "run"


def test_all_else_is_done_and_the_shard_named_then_given_up(
    killed: Executor, run_on: Run, settings: Settings, reference: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CuratorError, match=r"1 shard kills its workers.*pool-2\.tar.*give_up_shards") as caught:
        run_on(killed, out=str(out), **settings)
    assert caught.value.exit_code == 1
    assert len(list((out / "pool" / "done").iterdir())) == 3
    assert not (out / "selection").exists()

    # It counts with its expected samples: about six of 60, with the damaged one more than 5%.
    with pytest.raises(TooManyBad):
        run_on(killed, out=str(out), **settings | {"give_up_shards": True})

    run_on(killed, out=str(out), **settings | {"give_up_shards": True, "max_bad": 0.5})
    lines = sorted(line_of(row) for row in ledger(str(out)))
    assert lines == [("pool-0.tar", "0002", "decode_error"), ("pool-2.tar", "", "unreadable_shard")]
    assert (out / "shards" / "sizes.json").exists()

    # Where it kills nobody any more, the run becomes what it would have been.
    monkeypatch.setattr(embed, "EmbedStage", EmbedStage)
    run_on(InProcessExecutor(), out=str(out), **settings)
    assert_same_bytes(str(out), str(reference))
