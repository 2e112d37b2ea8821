"""For the same inputs, config and seed the same bytes, whatever runs it and however often it was interrupted.

A new way to run is one more entry of VARIANTS.
"""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jobs_for_tests import (
    DyingEmbedStage,
    DyingPackStage,
    DyingScanStage,
    Interrupted,
    Reversed,
    assert_same_bytes,
    copy_tree,
    differing,
    files_of,
    packed_samples,
    table,
)

from benchmarks.fault_proxy import FaultProxy, once_each
from curator.search.scan import best_rows
from curator.selection import Rules, multi_target as several
from curator_pipelines.config.select import PackConfig
from curator_pipelines.executors import Executor, InProcessExecutor, LocalExecutor
from curator_pipelines.jobs.select import choose, choose_search, embed, pack
from curator_pipelines.run.progress import Reporter

Run = Callable[..., Any]
MakeRay = Callable[[int | None], Executor]
Variant = Callable[[pytest.MonkeyPatch, Run, dict[str, Any], MakeRay], None]


def on(make: Callable[[], Executor]) -> Variant:
    """Run once on this executor."""

    def variant(patch: pytest.MonkeyPatch, run_on: Run, settings: dict[str, Any], make_ray: MakeRay) -> None:
        run_on(make(), **settings)

    return variant


def two_workers(patch: pytest.MonkeyPatch, run_on: Run, settings: dict[str, Any], make_ray: MakeRay) -> None:
    run_on(None, **settings, workers=2)


def worker_killed(patch: pytest.MonkeyPatch, run_on: Run, settings: dict[str, Any], make_ray: MakeRay) -> None:
    patch.setattr(embed, "EmbedStage", DyingEmbedStage)
    patch.setattr(choose_search, "ScanStage", DyingScanStage)
    patch.setattr(pack, "PackStage", DyingPackStage)
    run_on(None, **settings, workers=2)


def interrupted(
    patch: pytest.MonkeyPatch, run_on: Run, settings: dict[str, Any], make_ray: MakeRay | None = None
) -> None:
    for _ in range(4):  # two sources or output shards a time: 4 + 4 of them
        with pytest.raises(KeyboardInterrupt):
            run_on(Interrupted(), **settings)
    run_on(Interrupted(), **settings)


def small_blocks(patch: pytest.MonkeyPatch, run_on: Run, settings: dict[str, Any], make_ray: MakeRay) -> None:
    patch.setattr(several, "best_rows", functools.partial(best_rows, block_rows=3))
    patch.setattr(choose, "Rules", functools.partial(Rules, k=1))
    run_on(InProcessExecutor(), **settings)


# With short queues, what is told of what would come beyond the end is cut short: it is what memory holds.
BEYOND_THE_END = {"selection/next.parquet", "selection/selection.json"}


def on_ray(workers: int | None) -> Variant:
    """Run on so many actors; None for one on each of the three nodes."""

    def variant(patch: pytest.MonkeyPatch, run_on: Run, settings: dict[str, Any], make_ray: MakeRay) -> None:
        run_on(make_ray(workers), **settings)

    return variant


def ray_worker_killed(patch: pytest.MonkeyPatch, run_on: Run, settings: dict[str, Any], make_ray: MakeRay) -> None:
    patch.setattr(embed, "EmbedStage", DyingEmbedStage)
    patch.setattr(choose_search, "ScanStage", DyingScanStage)
    patch.setattr(pack, "PackStage", DyingPackStage)
    run_on(make_ray(2), **settings)


VARIANTS: dict[str, Variant] = {
    "two threads": on(lambda: InProcessExecutor(cpus=2)),
    "last task first": on(Reversed),
    "interrupted four times": interrupted,
    "small search blocks, short queues": small_blocks,
    "one worker of one thread": on(lambda: LocalExecutor(workers=1, cpus=1)),
    "one worker of two threads": on(lambda: LocalExecutor(workers=1, cpus=2)),
    "two workers": two_workers,
    "worker killed and task retried": worker_killed,
    "Ray, one actor": on_ray(1),
    "Ray, three actors on three nodes": on_ray(None),
    "Ray, actors killed and tasks retried": ray_worker_killed,
}


SLOW = (
    "one worker of one thread",
    "one worker of two threads",
    "two workers",
    "Ray, one actor",
    "Ray, three actors on three nodes",
    "Ray, actors killed and tasks retried",
)


@pytest.mark.parametrize(
    "variant",
    [pytest.param(v, id=name, marks=pytest.mark.slow if name in SLOW else ()) for name, v in VARIANTS.items()],
)
def test_same_bytes(
    variant: Variant,
    run_on: Run,
    settings: dict[str, Any],
    reference: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_ray: MakeRay,
) -> None:
    variant(monkeypatch, run_on, settings | {"out": str(tmp_path / "run")}, make_ray)

    if variant is not small_blocks:
        assert_same_bytes(str(tmp_path / "run"), str(reference))
        return
    ours, theirs = files_of(str(tmp_path / "run")), files_of(str(reference))
    assert set(differing(ours, theirs)) <= BEYOND_THE_END
    records = [json.loads(files["selection/selection.json"]) for files in (ours, theirs)]
    changed = {name for name in records[1] if records[0][name] != records[1][name]}
    assert changed <= {"around_end", "thresholds", "next"}


def test_the_reference_has_something_to_compare(reference: Path) -> None:
    names = set(files_of(str(reference)))

    assert {f"pool/img_emb/img_emb_0000000{part}.npy" for part in range(4)} <= names
    assert {f"shards/curated-00000{shard}.tar" for shard in range(4)} <= names
    assert len(table(str(reference), "quarantine.parquet")) == 1
    assert len(table(str(reference), "selection", "selected.parquet")) == 21
    assert {"shards/sizes.json", "shards/manifest.parquet", "selection/centroids.npy"} <= names


def test_another_seed_gives_other_bytes(run: Run, settings: dict[str, Any], reference: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    run(out=out, **settings | {"seed": 4})

    changed = differing(files_of(out), files_of(str(reference)))
    assert "shards/curated-000000.tar" in changed
    assert not [name for name in changed if name.startswith(("pool", "target", "quarantine"))]


def test_s3_out(run: Run, settings: dict[str, Any], reference: Path, s3_bucket: str) -> None:
    run(out=f"{s3_bucket}/some/run", **settings)

    assert_same_bytes(f"{s3_bucket}/some/run", str(reference))


@pytest.mark.slow
def test_s3_out_interrupted(run_on: Run, settings: dict[str, Any], reference: Path, s3_bucket: str) -> None:
    interrupted(pytest.MonkeyPatch(), run_on, settings | {"out": f"{s3_bucket}/run"})

    assert_same_bytes(f"{s3_bucket}/run", str(reference))


def in_s3(bucket: str, data: Path) -> dict[str, Any]:
    """The inputs, copied there."""
    copy_tree(str(data), f"{bucket}/data")
    return {
        "target": [f"{bucket}/data/target"],
        "pool": [f"{bucket}/data/pool-{{0..3}}.tar"],
        "deny": f"{bucket}/data/deny.txt",
    }


@pytest.mark.slow
def test_s3_to_local_and_over_a_line_that_fails_to_s3(
    run: Run,
    settings: dict[str, Any],
    data: Path,
    reference: Path,
    faulty_s3: FaultProxy,
    s3_bucket: str,
    tmp_path: Path,
) -> None:
    inputs, out = in_s3(s3_bucket, data), str(tmp_path / "run")
    run(out=out, **settings | inputs)

    ours, theirs = files_of(out), files_of(str(reference))
    changed = [name for name in differing(ours, theirs) if "/done/" not in name and name != "selection/selection.json"]
    # What names its source can differ in the source's name alone.
    assert all(name.endswith(".parquet") for name in changed)
    for name in changed:
        if not name.endswith("parts.parquet"):
            assert _without_place(out, name, f"{s3_bucket}/data") == _without_place(str(reference), name, str(data))

    faulty_s3.fault = once_each("503", "drop", "cut", "500")
    run(out=f"{s3_bucket}/run", **settings | inputs)
    faulty_s3.fault = lambda *request: ""
    assert len(faulty_s3.faults) == 4
    assert faulty_s3.faults.total() > 100
    assert_same_bytes(f"{s3_bucket}/run", out)


def _without_place(out: str, name: str, place: str) -> list[dict[str, Any]]:
    rows = table(out, *name.split("/"))
    return [
        {key: value.replace(place, "PLACE") if isinstance(value, str) else value for key, value in row.items()}
        for row in rows
    ]


@pytest.mark.parametrize("shard_size", [1, 4, 21, 1000])
def test_shard_sizes(shard_size: int, run: Run, settings: dict[str, Any], reference: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    copy_tree(str(reference), str(out))
    run(out=str(out), **settings | {"shard_size": shard_size})

    changed = differing(files_of(str(out)), files_of(str(reference)))
    assert [name for name in changed if not name.startswith("shards/")] == []
    shards = packed_samples(str(out))
    counts = [len(samples) for samples in shards.values()]
    assert sum(counts) == 21
    assert counts[:-1] == [shard_size] * (len(counts) - 1)
    assert counts[-1] <= shard_size
    assert _as_set(shards) == _as_set(packed_samples(str(reference)))
    assert {name: len(samples) for name, samples in shards.items()} == _sizes(out)


def _as_set(shards: dict[str, list[dict[str, bytes]]]) -> set[tuple[tuple[str, bytes], ...]]:
    return {tuple(sorted(sample.items())) for samples in shards.values() for sample in samples}


def _sizes(out: Path) -> dict[str, int]:
    sizes: dict[str, int] = json.loads((out / "shards" / "sizes.json").read_text())
    return sizes


def test_packed_again_and_back_is_the_same(
    settings: dict[str, Any], reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = str(tmp_path / "run")
    copy_tree(str(reference), out)
    monkeypatch.setattr(pack, "make_executor", lambda *arguments: InProcessExecutor())
    for size in (4, 6):
        pack.run_pack(PackConfig(out=out, shard_size=size, seed=3), Reporter())

    assert_same_bytes(out, str(reference))
