"""The same directory again: with more shards, other flags, `--redo`, or inputs that cannot be the same run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobs_for_tests import (
    ENCODER,
    CountsTasks,
    Interrupted,
    assert_same_bytes,
    differing,
    files_of,
    inodes,
    picture,
    table,
    write_ready,
)

from curator.errors import InputError
from curator_pipelines.config.select import EmbedConfig
from curator_pipelines.executors import InProcessExecutor
from curator_pipelines.jobs.select import prepare
from curator_pipelines.jobs.select.embed_pool import run_embed
from curator_pipelines.run.progress import Reporter
from curator_pipelines.run.run_directory import RunDirectory

Run = Callable[..., Any]
Counted = Callable[..., CountsTasks]

ALL = ["pool-0.tar", "pool-1.tar", "pool-2.tar", "pool-3.tar"]


@pytest.fixture
def out(reference: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(reference, tmp_path / "run"))


def written(before: dict[str, tuple[int, int]], out: Path) -> set[str]:
    """First folder of every file that is new or was written again."""
    after = inodes(out)
    return {name.partition("/")[0] for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


class TestAgain:
    def test_nothing_to_do(self, counted: Counted, settings: dict[str, Any], out: Path, reference: Path) -> None:
        before = inodes(out)

        assert counted(out=str(out), **settings).payloads == []

        assert written(before, out) <= {"run.json", "quarantine.parquet", "events"}
        assert_same_bytes(str(out), str(reference))

    @pytest.mark.slow
    def test_run_json_may_stand_as_a_killed_run_left_it(
        self, run: Run, settings: dict[str, Any], out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        left: list[bytes] = []
        save = RunDirectory.save

        def save_and_keep(directory: RunDirectory) -> None:
            save(directory)
            left.append((out / "run.json").read_bytes())

        with monkeypatch.context() as patch:
            patch.setattr(RunDirectory, "save", save_and_keep)
            run(out=str(out), search="ivf", **settings)

        for content in dict.fromkeys(left):
            (out / "run.json").write_bytes(content)
            # The index is not needed any more: what run.json says of its stage stays as it is.
            assert run(out=str(out), **settings).stages.keys() >= {"target", "pool", "select", "pack"}

    @pytest.mark.parametrize("own", [True, False])
    def test_the_done_mark_of_another_run_vouches_for_nothing(
        self, own: bool, counted: Counted, settings: dict[str, Any], out: Path, reference: Path
    ) -> None:
        # As a worker leaves it that lives on after its run was stopped and began anew with another encoder.
        mark = next((out / "pool" / "done").glob("00000002-*"))
        for identity in ("0" * 16, "f" * 16):
            shutil.copy(mark, mark.with_name(f"00000002-{identity}.json"))
        if not own:
            mark.unlink()

        assert counted(out=str(out), **settings).embedded == ([] if own else ["pool-2.tar"])
        assert_same_bytes(str(out), str(reference))

    def test_embedding_alone_would_forget_the_target(
        self, settings: dict[str, Any], out: Path, reference: Path
    ) -> None:
        config = EmbedConfig(out=str(out), pool=settings["pool"], **ENCODER)

        with pytest.raises(InputError, match="is a selection's"):
            run_embed(config, Reporter())

        assert_same_bytes(str(out), str(reference))

    def test_a_lost_done_mark_is_one_part(
        self, counted: Counted, settings: dict[str, Any], out: Path, reference: Path
    ) -> None:
        next((out / "pool" / "done").glob("00000002-*")).unlink()

        assert counted(out=str(out), **settings).embedded == ["pool-2.tar"]
        assert_same_bytes(str(out), str(reference))

    def test_lost_sizes_close_the_packing_anew(
        self, counted: Counted, settings: dict[str, Any], out: Path, reference: Path
    ) -> None:
        (out / "shards" / "sizes.json").unlink()

        counted(out=str(out), **settings)

        assert_same_bytes(str(out), str(reference))

    @pytest.mark.parametrize("name", ["selected.parquet", "selection.json", "centroids.npy", "rounds.parquet"])
    @pytest.mark.slow
    def test_a_lost_file_of_the_selection(
        self, name: str, run: Run, settings: dict[str, Any], out: Path, reference: Path
    ) -> None:
        (out / "selection" / name).unlink()

        run(out=str(out), **settings)

        assert_same_bytes(str(out), str(reference))


class TestAppended:
    def test_only_new_parts_are_embedded(
        self, counted: Counted, settings: dict[str, Any], reference: Path, tmp_path: Path
    ) -> None:
        out, pool = str(tmp_path / "run"), settings["pool"]
        assert sorted(counted(out=out, **settings | {"pool": pool[:2]}).embedded) == [*ALL[:2], "target"]
        old = {(row["shard"], row["image_path"]): (row["part"], row["index"]) for row in _pool_rows(out, 2)}
        before = inodes(tmp_path / "run")

        assert sorted(counted(out=out, **settings).embedded) == ALL[2:]

        new = {(row["shard"], row["image_path"]): (row["part"], row["index"]) for row in _pool_rows(out, 4)}
        assert old == {sample: new[sample] for sample in old}
        kept = {name for name in before if name.startswith(("pool/img", "pool/meta", "pool/done", "target/"))}
        after = inodes(tmp_path / "run")
        assert {name: before[name] for name in kept} == {name: after[name] for name in kept}
        assert_same_bytes(out, str(reference))

    @pytest.mark.slow
    def test_ids_are_in_first_seen_order(
        self, counted: Counted, run: Run, settings: dict[str, Any], tmp_path: Path
    ) -> None:
        pool = settings["pool"]
        grown, fresh = str(tmp_path / "grown"), str(tmp_path / "fresh")
        run(out=grown, **settings | {"pool": [pool[3], pool[1]]})

        # Given in another order, and the new one in front.
        assert counted(out=grown, **settings | {"pool": [pool[0], pool[1], pool[3]]}).embedded == ["pool-0.tar"]

        run(out=fresh, **settings | {"pool": [pool[3], pool[1], pool[0]]})
        assert_same_bytes(grown, fresh)

    @pytest.mark.slow
    def test_interrupted_and_appended_and_interrupted(
        self, run_on: Run, counted: Counted, settings: dict[str, Any], reference: Path, tmp_path: Path
    ) -> None:
        out, pool = str(tmp_path / "run"), settings["pool"]
        for count in (2, 3):  # ends after the target and pool-0, then after pool-1 and pool-2
            with pytest.raises(KeyboardInterrupt):
                run_on(Interrupted(), out=out, **settings | {"pool": pool[:count]})

        assert counted(out=out, **settings).embedded == [ALL[3]]

        assert_same_bytes(out, str(reference))

    @pytest.mark.slow
    def test_on_s3(self, counted: Counted, settings: dict[str, Any], reference: Path, s3_bucket: str) -> None:
        out, pool = f"{s3_bucket}/run", settings["pool"]
        counted(out=out, **settings | {"pool": pool[:3]})

        assert counted(out=out, **settings).embedded == [ALL[3]]

        assert_same_bytes(out, str(reference))

    @pytest.mark.slow
    def test_another_run_that_grew(
        self, counted: Counted, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = ("encoder", "weights", "device", "precision", "max_bad")
        other = {name: settings[name] for name in names} | {"out": str(tmp_path / "other")}
        mine = settings | {"pool": [f"{other['out']}/pool"]}
        out, fresh = str(tmp_path / "run"), str(tmp_path / "fresh")
        embedded = []
        for count in (2, 4):
            with monkeypatch.context() as patch:
                patch.setattr(prepare, "make_executor", lambda *arguments, **named: InProcessExecutor())
                run_embed(EmbedConfig(**other, pool=settings["pool"][:count]), Reporter())
            embedded.append(counted(out=out, **mine).embedded)

        assert embedded == [["target", *ALL[:2]], ALL[2:]]
        counted(out=fresh, **mine)
        assert_same_bytes(out, fresh)

    @pytest.mark.slow
    def test_embed_appends_too(
        self, settings: dict[str, Any], reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(prepare, "make_executor", lambda *arguments, **named: InProcessExecutor())
        names = ("encoder", "weights", "device", "precision", "max_bad")
        # One bad sample of the first shard's ten is more than the settings' 5%.
        mine = {name: settings[name] for name in names} | {"out": str(tmp_path / "run"), "max_bad": "10%"}
        for count in (1, 4):
            run_embed(EmbedConfig(**mine, pool=settings["pool"][:count]), Reporter())

        pool = {name: data for name, data in files_of(str(reference)).items() if name.startswith("pool/")}
        ours = {name: data for name, data in files_of(str(tmp_path / "run")).items() if name.startswith("pool/")}
        assert differing(ours, pool) == []


def _pool_rows(out: str, parts: int) -> list[dict[str, Any]]:
    return [row for part in range(parts) for row in table(out, "pool", "metadata", f"metadata_{part:08d}.parquet")]


class TestRedo:
    @pytest.mark.parametrize(
        ("stage", "embedded", "anew"),
        [
            ("embed", [*ALL, "target"], {"target", "pool", "selection", "shards"}),
            ("target", ["target"], {"target", "selection", "shards"}),
            ("pool", ALL, {"pool", "selection", "shards"}),
            ("select", [], {"selection", "shards"}),
            ("pack", [], {"shards"}),
        ],
    )
    @pytest.mark.slow
    def test_each_stage(
        self,
        stage: str,
        embedded: list[str],
        anew: set[str],
        counted: Counted,
        settings: dict[str, Any],
        out: Path,
        reference: Path,
    ) -> None:
        before = inodes(out)

        tasks = counted(out=str(out), redo=stage, **settings)

        assert sorted(tasks.embedded) == embedded
        assert tasks.packed == 4
        assert written(before, out) - {"run.json", "quarantine.parquet", "events"} == anew
        assert_same_bytes(str(out), str(reference))

    @pytest.mark.slow
    def test_with_a_changed_shard(
        self, counted: Counted, settings: dict[str, Any], own_data: Path, tmp_path: Path
    ) -> None:
        out = str(tmp_path / "run")
        mine = settings | {"pool": [str(own_data / name) for name in ALL]}
        counted(out=out, **mine)
        shutil.copy(own_data / "pool-2.tar", own_data / "pool-0.tar")

        assert sorted(counted(out=out, redo="pool", **mine).embedded) == ALL
        counted(out=str(tmp_path / "fresh"), **mine)
        assert_same_bytes(out, str(tmp_path / "fresh"))


class TestLaterStagesOnly:
    @pytest.mark.parametrize(
        ("change", "anew"),
        [
            ({"budget": "10"}, {"selection", "shards"}),
            ({"budget": "50%"}, {"selection", "shards"}),
            ({"stop": "0.99"}, {"selection", "shards"}),
            ({"clusters": 3}, {"selection", "shards"}),
            ({"selector": "knn", "clusters": None}, {"selection", "shards"}),
            ({"selector": "random", "clusters": None}, {"selection", "shards"}),
            ({"seed": 5}, {"selection", "shards"}),
            ({"shard_size": 7}, {"shards"}),
            ({"manifest_only": True}, {"shards"}),
        ],
    )
    @pytest.mark.slow
    def test_another_flag(
        self, change: dict[str, Any], anew: set[str], counted: Counted, settings: dict[str, Any], out: Path
    ) -> None:
        before = inodes(out)

        tasks = counted(out=str(out), **settings | change)

        assert tasks.embedded == []
        assert written(before, out) - {"run.json", "quarantine.parquet", "events"} == anew
        # As if it had been the first run.
        counted(out=str(out.parent / "fresh"), **settings | change)
        assert_same_bytes(str(out), str(out.parent / "fresh"))

    def test_smaller_budgets_are_the_beginning_of_larger_ones(
        self, run: Run, settings: dict[str, Any], out: Path, reference: Path
    ) -> None:
        run(out=str(out), **settings | {"budget": "8"})

        whole = table(str(reference), "selection", "selected.parquet")
        assert table(str(out), "selection", "selected.parquet") == whole[:8]

    @pytest.mark.slow
    def test_what_is_replaced_is_told(self, run: Run, settings: dict[str, Any], out: Path, reference: Path) -> None:
        before = {row["id"] for row in table(str(reference), "selection", "selected.parquet")}

        summary = run(out=str(out), **settings | {"selector": "random", "clusters": None, "budget": "8"})

        now = {row["id"] for row in table(str(out), "selection", "selected.parquet")}
        assert 0 < len(before & now) < len(before)
        told = f"another selection of {len(before)} samples, of which {len(before & now)} are chosen again"
        assert f"replaced    {told}" in summary.to_text()
        assert summary.to_json()["replaced"] == {"count": len(before), "again": len(before & now)}
        # The same again replaces nothing.
        again = run(out=str(out), **settings | {"selector": "random", "clusters": None, "budget": "8"})
        assert "replaced    " not in again.to_text()
        assert next(iter(again.stages)) == "start"


class TestRefused:
    """Another run than the one in OUT: exit 2 with the difference, and nothing is touched."""

    @pytest.mark.usefixtures("emulated_bf16")
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"encoder": "timm:test_resnet"}, "architecture was .*test_efficientnet.*, now .*test_resnet"),
            ({"precision": "bf16"}, "precision was fp32, now bf16"),
            ({"min_side": 20}, "min_side was None, now 20"),
        ],
    )
    def test_another_encoding(
        self, change: dict[str, Any], message: str, run: Run, settings: dict[str, Any], out: Path
    ) -> None:
        before = inodes(out)

        with pytest.raises(InputError, match=message) as caught:
            run(out=str(out), **settings | change)

        assert "redo" in str(caught.value)
        assert inodes(out) == before

    def test_another_target(self, run: Run, settings: dict[str, Any], own_data: Path, out: Path) -> None:
        before = inodes(out)

        with pytest.raises(InputError, match=f"{settings['target'][0]} was used before and is not given now"):
            run(out=str(out), **settings | {"target": [str(own_data / "target")]})

        assert inodes(out) == before

    @pytest.mark.parametrize("change", ["changed", "touched", "removed", "left out"])
    @pytest.mark.parametrize("which", ["pool", "target"])
    @pytest.mark.slow
    def test_changed_inputs(
        self, which: str, change: str, run: Run, settings: dict[str, Any], own_data: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "run"
        mine = settings | {"pool": [str(own_data / name) for name in ALL], "target": [str(own_data / "target")]}
        run(out=str(out), **mine)
        before = inodes(out)
        victim = own_data / ("pool-1.tar" if which == "pool" else "target/0.png")
        if change == "changed":
            victim.write_bytes(picture(999) if which == "target" else (own_data / "pool-2.tar").read_bytes())
        elif change == "touched":
            victim.touch()
        elif change == "removed":
            victim.unlink()
        elif which == "pool":
            mine["pool"] = [url for url in mine["pool"] if not url.endswith("pool-1.tar")]
        else:
            mine["target"] = mine["pool"][:1]
        name = str(victim) if which == "pool" else str(own_data / "target")

        with pytest.raises(InputError, match=name):
            run(out=str(out), **mine)

        assert inodes(out) == before

    def test_a_directory_that_is_not_ours(self, run: Run, settings: dict[str, Any], tmp_path: Path) -> None:
        (tmp_path / "shards").mkdir()

        with pytest.raises(InputError, match=r"holds 'shards' but no run\.json"):
            run(out=str(tmp_path), **settings)

        assert not list((tmp_path / "shards").iterdir())

    def test_another_format_version(self, run: Run, settings: dict[str, Any], out: Path) -> None:
        record = json.loads((out / "run.json").read_text())
        (out / "run.json").write_text(json.dumps(record | {"version": 99}))
        before = inodes(out)

        with pytest.raises(InputError, match="99"):
            run(out=str(out), **settings)

        assert inodes(out) == before

    def test_ready_embeddings_of_another_width(self, run: Run, settings: dict[str, Any], tmp_path: Path) -> None:
        rows = np.ones((5, 8), np.float32)
        pool = write_ready(tmp_path / "ready", [rows])

        with pytest.raises(InputError, match="different dimensions"):
            run(out=str(tmp_path / "run"), **settings | {"pool": [pool], "manifest_only": True})

        assert not (tmp_path / "run").exists()
