"""Workers and drivers that are killed, images that crash their decoder, a user who presses Ctrl-C."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jobs_for_tests import (
    MARKER,
    Driver,
    ShardServer,
    assert_same_bytes,
    curator,
    driver,
    entries_of,
    files_of,
    flags,
    inodes,
    is_running,
    ledger,
    line_of,
    picture,
    table,
    tar_bytes,
    temporaries,
    until,
)

Run = Callable[..., Any]
Stop = Callable[[Driver], int]

LAST = "pool-3.tar"
# Of the pool, so it is embedded last.
SMALLEST = "pool-2.tar"


@pytest.fixture
def out(served_reference: Path, tmp_path: Path) -> Path:
    """The run as it is when only its target is embedded."""
    shutil.copytree(served_reference, tmp_path / "run")
    for name in ("pool", "selection", "shards"):
        shutil.rmtree(tmp_path / "run" / name)
    (tmp_path / "run" / "quarantine.parquet").unlink()
    return tmp_path / "run"


@pytest.fixture
def selected(served_reference: Path, tmp_path: Path) -> Path:
    """The run as it is when all but packing is done."""
    shutil.copytree(served_reference, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "shards")
    return tmp_path / "run"


def interrupt(started: Driver) -> int:
    """Ctrl-C: the terminal sends it to the whole process group."""
    started.signal_group(signal.SIGINT)
    return 130


def terminate(started: Driver) -> int:
    started.process.terminate()
    return 130


def kill(started: Driver) -> int:
    started.process.kill()
    return -signal.SIGKILL


STOPS = [interrupt, pytest.param(terminate, marks=pytest.mark.slow), kill]


class TestKilledWorker:
    @pytest.mark.slow
    def test_in_embed(
        self, server: ShardServer, served: dict[str, Any], served_reference: Path, out: Path, tmp_path: Path
    ) -> None:
        with server.holding(SMALLEST), driver(["select", *flags(out=out, **served)]) as started:
            until(server.reached.is_set, "the worker reads the last shard")
            (worker,) = started.workers
            os.kill(worker, signal.SIGKILL)
            server.released.set()
            code, error = started.wait()

        assert code == 0, error
        assert "a worker was lost (SIGKILL)" in error
        assert_same_bytes(str(out), str(served_reference))
        assert not temporaries(out)

    def test_in_pack(self, server: ShardServer, served: dict[str, Any], served_reference: Path, selected: Path) -> None:
        with server.holding(LAST), driver(["pack", *flags(out=selected, shard_size=6, seed=3)]) as started:
            until(server.reached.is_set, "the worker reads the last shard")
            (worker,) = started.workers
            os.kill(worker, signal.SIGKILL)
            server.released.set()
            code, error = started.wait()

        assert code == 0, error
        assert_same_bytes(str(selected), str(served_reference))
        assert not temporaries(selected)


class TestStopped:
    """Stopped in the middle: no process stays behind, and the same command does only the rest."""

    @pytest.mark.parametrize("stop", [pytest.param(interrupt, marks=pytest.mark.slow), kill])
    def test_in_embed(
        self,
        stop: Stop,
        server: ShardServer,
        served: dict[str, Any],
        served_reference: Path,
        out: Path,
        run: Run,
    ) -> None:
        with server.holding(SMALLEST), driver(["select", *flags(out=out, **served)]) as started:
            until(server.reached.is_set, "the worker reads the last shard")
            workers = started.workers
            expected = stop(started)
            code, error = started.wait()
            until(lambda: not any(map(is_running, workers)), "the workers end with their driver")
        before = inodes(out)

        assert len(workers) == 1
        assert code == expected, error
        assert "Traceback" not in error
        assert len(list((out / "pool" / "done").iterdir())) == 3
        if stop is interrupt:
            assert "run the same command again" in error
            assert json.loads((out / "run.json").read_text())["stages"]["pool"]["state"] == "stopped"

        run(out=str(out), **served)

        assert_same_bytes(str(out), str(served_reference))
        assert not temporaries(out)
        _assert_left_alone(before, out, "pool/", "target/")

    @pytest.mark.parametrize("stop", STOPS)
    def test_in_pack(
        self, stop: Stop, server: ShardServer, served: dict[str, Any], served_reference: Path, selected: Path, run: Run
    ) -> None:
        with server.holding(LAST), driver(["pack", *flags(out=selected, shard_size=6, seed=3)]) as started:
            until(server.reached.is_set, "the worker reads the last shard")
            workers = started.workers
            expected = stop(started)
            code, error = started.wait()
            until(lambda: not any(map(is_running, workers)), "the workers end with their driver")
        before = inodes(selected)

        assert len(workers) == 1
        assert code == expected, error
        assert "Traceback" not in error
        assert not (selected / "shards" / "sizes.json").exists()
        packed = [name for name in before if name.endswith(".tar")]
        assert 0 < len(packed) < 4

        run(out=str(selected), **served)

        assert_same_bytes(str(selected), str(served_reference))
        assert not temporaries(selected)
        _assert_left_alone(before, selected, "pool/", "target/", "selection/", "shards/curated")


def _assert_left_alone(before: dict[str, tuple[int, int]], out: Path, *folders: str) -> None:
    after = inodes(out)
    final = {name: state for name, state in before.items() if not Path(name).name.startswith(".")}
    kept = {name: state for name, state in final.items() if name.startswith(folders)}
    assert kept
    assert {name: after.get(name) for name in kept} == kept


class TestDecoderCrash:
    """An image whose decoder dies in native code costs itself, and nothing else."""

    @pytest.mark.slow
    def test_one_in_the_pool(self, own_data: Path, settings: dict[str, Any], tmp_path: Path) -> None:
        shard = own_data / "pool-1.tar"
        entries = entries_of(200, 36)
        entries[2 * 7] = ("0007.png", picture(207) + MARKER)
        shard.write_bytes(tar_bytes(entries))
        out = tmp_path / "run"

        code, error = curator(
            ["embed", *flags(out=out, **_embedding(settings, [shard]))], CURATOR_TEST_ABORT_ON=MARKER.decode()
        )

        assert code == 0, error
        assert [line_of(row) for row in ledger(str(out))] == [("pool-1.tar", "0007", "decoder_crash")]
        assert "SIGABRT" in ledger(str(out))[0]["detail"]
        keys = [row["image_path"] for row in table(str(out), "pool", "metadata", "metadata_00000000.parquet")]
        assert keys == [f"{number:04d}" for number in range(36) if number != 7]

    @pytest.mark.slow
    def test_two_in_a_shard_and_one_in_the_target(
        self, own_data: Path, settings: dict[str, Any], tmp_path: Path
    ) -> None:
        entries = entries_of(200, 36)
        for number in (0, 35):
            name, image = entries[2 * number]
            entries[2 * number] = (name, image + MARKER)
        (own_data / "pool-1.tar").write_bytes(tar_bytes(entries))
        (own_data / "target" / "0.png").write_bytes(picture(0) + MARKER)
        out = tmp_path / "run"
        mine = settings | {"target": [str(own_data / "target")], "pool": [str(own_data / "pool-1.tar")]}

        code, error = curator(
            ["select", *flags(out=out, **mine | {"max_bad": 0.12})], CURATOR_TEST_ABORT_ON=MARKER.decode()
        )

        assert code == 0, error
        assert sorted(line_of(row) for row in ledger(str(out))) == [
            ("pool-1.tar", "0000", "decoder_crash"),
            ("pool-1.tar", "0035", "decoder_crash"),
            ("target", "0.png", "decoder_crash"),
        ]
        assert len(table(str(out), "target", "metadata", "metadata_00000000.parquet")) == 8
        assert len(table(str(out), "pool", "metadata", "metadata_00000000.parquet")) == 34
        assert not [name for name in files_of(str(out)) if name.endswith(".curator-tmp")]


def _embedding(settings: dict[str, Any], pool: list[Path]) -> dict[str, Any]:
    names = ("encoder", "weights", "device", "precision", "max_bad")
    return {name: settings[name] for name in names} | {"pool": [str(url) for url in pool]}
