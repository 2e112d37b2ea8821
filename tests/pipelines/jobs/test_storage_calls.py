"""What a run knows, it knows once: storage calls of a run with 50 parts, and of its finished re-run, counted."""

from pathlib import Path

import pytest
from counted_for_tests import Calls, counting
from jobs_for_tests import entries_of, tar_bytes

PARTS = 50
SHARD = r"/pool/\d{6}\.tar$"
ENCODER = ("--encoder", "timm:test_efficientnet", "--weights", "random", "--device", "cpu", "--precision", "fp32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("counted")
    (folder / "pool").mkdir()
    (folder / "target.tar").write_bytes(tar_bytes(entries_of(0, 3)))
    for number in range(PARTS):
        (folder / "pool" / f"{number:06d}.tar").write_bytes(tar_bytes(entries_of(100 + 2 * number, 2)))
    return folder


def select(folder: Path, *arguments: str) -> Calls:
    """A run without a report, which reads its pictures from the shards once more."""
    root = f"counted://{folder}"
    return counting(
        folder / "log",
        *("select", "--target", f"{root}/target.tar", "--pool", f"{root}/pool/{{000000..{PARTS - 1:06d}}}.tar"),
        *("--out", f"{root}/run", "--clusters", "2", "--budget", "10", "--shard-size", "5", "--no-report"),
        *arguments,
    )


@pytest.fixture(scope="module")
def first(folder: Path) -> Calls:
    return select(folder, *ENCODER)


@pytest.fixture(scope="module")
def again(folder: Path, first: Calls) -> Calls:
    return select(folder, *ENCODER)


def assert_knows_once(calls: Calls, root: str) -> None:
    """What is looked up, is looked up once, or once before and once after the embedding."""
    table = calls.table(root)
    for name, parts in (("target", 1), ("pool", PARTS)):
        assert 1 <= calls.of("list", f"/run/{name}/done$").total() <= 2, table
        marks = calls.of("read", f"/run/{name}/done/")
        assert len(marks) == parts, table
        assert set(marks.values()) == {1}, table
        assert 1 <= calls.of("read", f"/run/{name}/parts.parquet$").total() <= 2, table
    heads = calls.of("read", SHARD)
    assert len(heads) == PARTS, table
    # The first shard of those to embed is also looked into, to estimate how many samples there are.
    assert sorted(heads.values())[:-1] == [1] * (PARTS - 1), table
    assert max(heads.values()) <= 2, table
    # Shards that are given are looked up one by one, and what else is in their folder is not listed.
    assert calls.of("list", "/pool$").total() == 0, table
    looked_at = calls.of("stat", SHARD)
    assert len(looked_at) == PARTS, table
    assert sorted(looked_at.values())[:-1] == [1] * (PARTS - 1), table
    assert not calls.of("exists", "tar$"), table
    assert not calls.of("is directory", "tar$"), table


def test_a_run_lists_and_reads_everything_once(first, folder):
    assert_knows_once(first, str(folder))
    # run.json and progress.json tell how far the run is; everything else is written once.
    writes = first.of("write", "/run/(?!run.json|progress.json)")
    assert set(writes.values()) == {1}, first.table(str(folder))


@pytest.mark.slow
def test_the_finished_run_again_knows_once_too(again, folder):
    assert_knows_once(again, str(folder))
    assert not again.workers, again.table(str(folder))
    assert again.of("read", SHARD).total() == PARTS, again.table(str(folder))


@pytest.mark.slow
def test_the_report_and_its_contact_sheet_read_a_picture_once(again, folder):
    calls = counting(folder / "log", "report", f"counted://{folder}/run")
    reads = calls.of("read", r"/(pool/\d{6}|target)\.tar$")
    # The pool has 100 images and the target 3, and the page shows each of them.
    assert reads.total() <= 2 * PARTS + 3, calls.table(str(folder))
    assert max(reads.values()) <= 3, calls.table(str(folder))
    assert calls.of("write", r"/run/(report.html|contact_sheet.jpg)$").total() == 2, calls.table(str(folder))


@pytest.mark.slow
def test_a_warmup_finds_nothing_a_second_time(folder):
    calls = counting(
        folder / "log",
        *(
            "select",
            "--target",
            f"counted://{folder}/target.tar",
            "--pool",
            f"counted://{folder}/pool/00000{{0..4}}.tar",
        ),
        *("--out", f"counted://{folder}/warm", "--clusters", "2", "--budget", "4", "--warmup-epochs", "1"),
        *("--encoder", "warmup", "--device", "cpu", "--no-report"),
    )
    heads = calls.of("read", SHARD)
    assert sorted(heads.values()) == [1, 1, 1, 1, 2], calls.table(str(folder))
    assert calls.of("list", "/pool$").total() == 0, calls.table(str(folder))
