"""Parts that another run's pool holds: used where they are, and looked at whether they are as they were."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobs_for_tests import (
    CountsTasks,
    chosen,
    differences,
    differing,
    files_of,
    inodes,
    packed_samples,
    part_file,
    picture,
    pool_parts,
    table,
    tar_bytes,
    write_ready,
)

from curator.errors import InputError
from curator.io import FileHash
from curator.store.part_store import PartStore
from curator_pipelines.config.queries import CompareConfig, DedupConfig, ExportConfig, SearchConfig
from curator_pipelines.config.select import IndexConfig, PackConfig, build
from curator_pipelines.executors import InProcessExecutor
from curator_pipelines.jobs.compare.compare_run import run_compare
from curator_pipelines.jobs.export.export_run import run_export
from curator_pipelines.jobs.queries.dedup import run_dedup
from curator_pipelines.jobs.queries.run_state import inspect_run
from curator_pipelines.jobs.queries.search import run_search
from curator_pipelines.jobs.queries.why import explain
from curator_pipelines.jobs.select import embed, index as index_job
from curator_pipelines.jobs.select.index import run_index
from curator_pipelines.jobs.select.pack import run_pack
from curator_pipelines.run.progress import Reporter

Run = Callable[..., Any]
Counted = Callable[..., CountsTasks]


def remade(other: Path, part: int) -> None:
    """Give a part of a run other last bits under the same identity, as another machine would."""
    array = part_file(other, "pool/img_emb", part)
    rows = np.load(array)
    rows[:, 0] = np.nextafter(rows[:, 0], np.float16(2))
    np.save(array, rows)
    mark = part_file(other, "pool/done", part)
    fields = json.loads(mark.read_bytes())
    fields["array"] = list(FileHash.of(array))
    mark.write_text(json.dumps(fields))


@pytest.fixture
def other(reference: Path, tmp_path: Path) -> Path:
    """A finished run, for a test that changes it."""
    return Path(shutil.copytree(reference, tmp_path / "other"))


@pytest.fixture
def given(settings: dict[str, Any], other: Path, tmp_path: Path) -> dict[str, Any]:
    """Settings of a run over that run's pool."""
    return settings | {"pool": [str(other / "pool")], "out": str(tmp_path / "run")}


class TestUse:
    def test_nothing_is_copied_and_all_is_the_same(
        self, counted: Counted, given: dict[str, Any], other: Path, reference: Path
    ) -> None:
        before, out = inodes(other), Path(given["out"])

        tasks = counted(**given)

        assert tasks.embedded == ["target"]
        assert [path.name for path in (out / "pool").iterdir()] == ["parts.parquet"]
        assert [(row["store"], row["store_part"]) for row in pool_parts(out)] == [
            (f"{other}/pool", n) for n in range(4)
        ]
        ours, theirs = files_of(str(out)), files_of(str(reference))
        assert {name for name in differing(ours, theirs) if not name.startswith("pool/")} <= {"quarantine.parquet"}
        assert packed_samples(str(out)) == packed_samples(str(reference))
        assert differences(out) == []
        assert inodes(other) == before

        again = counted(**given)
        assert again.payloads == []
        assert files_of(str(out)) == ours

    @pytest.mark.slow
    def test_beside_shards_of_its_own(self, counted: Counted, settings: dict[str, Any], tmp_path: Path) -> None:
        first, out = str(tmp_path / "first"), str(tmp_path / "run")
        counted(out=first, **settings | {"pool": settings["pool"][:2]})
        mixed = settings | {"out": out, "pool": [f"{first}/pool", *settings["pool"]]}

        tasks = counted(**mixed)

        assert sorted(tasks.embedded) == ["pool-2.tar", "pool-3.tar", "target"]
        assert [bool(row["store"]) for row in pool_parts(out)] == [True, True, False, False]
        counted(out=str(tmp_path / "whole"), **settings)
        assert chosen(out) == chosen(tmp_path / "whole")
        assert packed_samples(out) == packed_samples(str(tmp_path / "whole"))
        # The shards alone name the same parts.
        assert counted(**mixed | {"pool": settings["pool"]}).payloads == []

    @pytest.mark.slow
    def test_new_parts_of_the_other_run_are_added(
        self, counted: Counted, settings: dict[str, Any], reference: Path, tmp_path: Path
    ) -> None:
        first, second = str(tmp_path / "first"), str(tmp_path / "second")
        counted(out=first, **settings | {"pool": settings["pool"][:3]})
        counted(out=second, **settings | {"pool": [f"{first}/pool"]})

        counted(out=first, **settings)
        tasks = counted(out=second, **settings | {"pool": [f"{first}/pool"]})

        assert tasks.embedded == []
        assert len(pool_parts(second)) == 4
        assert chosen(second) == chosen(reference)

    @pytest.mark.slow
    def test_of_a_run_that_refers_itself(
        self, counted: Counted, given: dict[str, Any], other: Path, tmp_path: Path
    ) -> None:
        counted(**given)
        third = given | {"out": str(tmp_path / "third"), "pool": [str(tmp_path / "run" / "pool")]}

        assert counted(**third).embedded == ["target"]

        assert {row["store"] for row in pool_parts(third["out"])} == {f"{other}/pool"}
        shutil.rmtree(given["out"])
        assert differences(third["out"]) == []

    def test_in_another_order_numbers_are_its_own(
        self, counted: Counted, settings: dict[str, Any], reference: Path, tmp_path: Path
    ) -> None:
        first, out = str(tmp_path / "first"), str(tmp_path / "run")
        counted(out=first, **settings | {"pool": settings["pool"][::-1]})
        mixed = [settings["pool"][0], f"{first}/pool"]

        counted(out=out, **settings | {"pool": mixed})

        assert [row["store_part"] for row in pool_parts(out)] == [None, 0, 1, 2]
        numbers = PartStore(f"{out}/pool").metadata(2, ["part", "shard"])
        assert set(numbers["part"].to_pylist()) == {2} and numbers["shard"][0].as_py().endswith("pool-2.tar")
        assert differences(out) == []
        assert sorted(row["key"] for row in chosen(out)) == sorted(row["key"] for row in chosen(reference))

    def test_ready_embeddings_of_another_run(self, counted: Counted, run: Run, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        arrays = [rng.normal(size=(count, 16)).astype(np.float32) for count in (30, 20)]
        pool = write_ready(tmp_path / "ready", arrays)
        target = write_ready(tmp_path / "target", [rng.normal(size=(9, 16)).astype(np.float32)])
        wanted = {"target": [target], "budget": "12", "manifest_only": True}
        run(out=str(tmp_path / "first"), **wanted | {"pool": [pool]})
        held = wanted | {"pool": [str(tmp_path / "first" / "pool")]}

        tasks = counted(out=str(tmp_path / "run"), **held)
        run(out=str(tmp_path / "copy"), **held | {"copy_pool": True})

        # The pool's are there, and the target's are too few for a worker to be started.
        assert tasks.embedded == []
        assert len(table(str(tmp_path / "run"), "target", "parts.parquet")) == 1
        assert all(row["store"] for row in pool_parts(tmp_path / "run"))
        assert chosen(tmp_path / "run") == chosen(tmp_path / "first") == chosen(tmp_path / "copy")
        ours, theirs = files_of(str(tmp_path / "copy")), files_of(str(tmp_path / "first"))
        assert [name for name in differing(ours, theirs) if name.startswith("pool/")] == []

    def test_many_ready_embeddings_of_a_target_are_the_workers(
        self, counted: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rng = np.random.default_rng(0)
        pool = write_ready(tmp_path / "ready", [rng.normal(size=(30, 16)).astype(np.float32)])
        target = write_ready(tmp_path / "target", [rng.normal(size=(9, 16)).astype(np.float32)])
        wanted = {"pool": [pool], "target": [target], "budget": "12", "manifest_only": True}
        for few, tasks in ((9, 1), (8, 2)):
            monkeypatch.setattr(embed, "FEW_ROWS", few)
            assert len(counted(out=str(tmp_path / str(few)), **wanted).embedded) == tasks

    def test_other_images_left_out_make_it_a_copy(self, counted: Counted, given: dict[str, Any]) -> None:
        tasks = counted(**given | {"min_side": 30})

        assert len(tasks.embedded) == 5
        assert not any(row["store"] for row in pool_parts(given["out"]))

    @pytest.mark.slow
    def test_copies_in_place_of_references_and_the_other_way(
        self, counted: Counted, given: dict[str, Any], other: Path
    ) -> None:
        counted(**given)
        selected = chosen(given["out"])

        tasks = counted(**given | {"copy_pool": True})

        assert sorted(tasks.embedded) == [f"pool-{number}.tar" for number in range(4)]
        assert not any(row["store"] for row in pool_parts(given["out"]))
        assert len(list(Path(given["out"], "pool", "img_emb").iterdir())) == 4
        # What is here stays here, whatever becomes of the other run.
        assert counted(**given).payloads == []
        shutil.rmtree(other)
        assert differences(given["out"]) == []
        assert chosen(given["out"]) == selected

    def test_redo_leaves_the_other_run_alone(self, counted: Counted, given: dict[str, Any], other: Path) -> None:
        counted(**given)
        before = inodes(other)

        counted(**given | {"redo": "pool"})

        assert inodes(other) == before
        assert differences(given["out"]) == []


@pytest.fixture(scope="module")
def referenced_run(settings: dict[str, Any], reference: Path, run_on: Run, tmp_path_factory: Any) -> Path:
    out = tmp_path_factory.mktemp("referenced") / "run"
    run_on(InProcessExecutor(), out=str(out), **settings | {"pool": [str(reference / "pool")], "report": True})
    return Path(out)


class TestCommands:
    """Each gives over referenced parts what it gives over the run that holds them."""

    def test_the_report_has_all_pictures(self, referenced_run: Path) -> None:
        page = (referenced_run / "report.html").read_text()
        assert page.count("data:image/jpeg") > 20

    @pytest.mark.parametrize(
        "selector", ["csls", *(pytest.param(name, marks=pytest.mark.slow) for name in ("knn", "random"))]
    )
    def test_selectors(
        self, selector: str, run: Run, settings: dict[str, Any], reference: Path, tmp_path: Path
    ) -> None:
        wanted = settings | {"selector": selector, "clusters": None, "manifest_only": True, "deny": None}
        wanted = {name: value for name, value in wanted.items() if value is not None}
        for name, pool in (("shards", settings["pool"]), ("held", [str(reference / "pool")])):
            run(out=str(tmp_path / name), **wanted | {"pool": pool})
        assert chosen(tmp_path / "held") == chosen(tmp_path / "shards")

    @pytest.mark.slow
    def test_dedup_and_exclude_while_choosing(
        self, run: Run, settings: dict[str, Any], data: Path, reference: Path, tmp_path: Path
    ) -> None:
        wanted = settings | {"dedup": 0.9, "exclude": [str(data / "target")], "manifest_only": True}
        for name, pool in (("shards", settings["pool"]), ("held", [str(reference / "pool")])):
            run(out=str(tmp_path / name), **wanted | {"pool": pool})
        names = [name for name in files_of(str(tmp_path / "held")) if name.startswith("selection/")]
        ours, theirs = files_of(str(tmp_path / "held")), files_of(str(tmp_path / "shards"))
        assert names and [name for name in names if ours[name] != theirs[name]] == []

    @pytest.mark.slow
    def test_an_index_of_its_own(
        self, run: Run, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch, reference: Path
    ) -> None:
        monkeypatch.setattr(index_job, "make_executor", lambda *arguments, **named: InProcessExecutor())
        run(**given)
        result = run_index(build(IndexConfig, {"out": given["out"]}), Reporter())
        assert result.rows == 59
        run(**given | {"search": "ivf", "recall": 1.0})
        assert chosen(given["out"]) == chosen(reference)

    def test_search_and_why(self, referenced_run: Path, reference: Path, tmp_path: Path) -> None:
        (tmp_path / "question.png").write_bytes(picture(205, "PNG"))
        question = {"image": str(tmp_path / "question.png"), "top": 5, "sheet": str(tmp_path / "sheet.png")}
        ours, theirs = (
            run_search(build(SearchConfig, {"run": str(folder), **question}), Reporter()).hits
            for folder in (referenced_run, reference)
        )
        assert ours == theirs
        answers = []
        for folder in (referenced_run, reference):
            told = explain(build(SearchConfig, {"run": str(folder), "why": "0001", "shard": "pool-1.tar"}))
            answers.append(told.to_text().replace(str(folder), "OUT"))
        assert answers[0] == answers[1]

    def test_dedup(self, referenced_run: Path, reference: Path, tmp_path: Path) -> None:
        found = []
        for folder in (referenced_run, reference):
            copy = str(shutil.copytree(folder, tmp_path / str(len(found))))
            run_dedup(build(DedupConfig, {"run": copy}), Reporter())
            found.append(table(copy, "dedup", "deny.parquet"))
        assert found[0] == found[1]
        assert found[0]

    def test_inspect(self, referenced_run: Path) -> None:
        (state,) = [stage for stage in inspect_run(str(referenced_run)).stages if stage.name == "pool"]
        assert (state.parts, state.total) == (4, 4)

    def test_compare_and_export(self, referenced_run: Path, reference: Path, tmp_path: Path) -> None:
        page = str(tmp_path / "compare.html")
        run_compare(build(CompareConfig, {"runs": [str(referenced_run), str(reference)], "out": page}), Reporter())
        assert "data:image/jpeg" in Path(page).read_text()
        folder = str(tmp_path / "folder")
        run_export(build(ExportConfig, {"out": str(referenced_run), "to": "folder", "dest": folder}), Reporter())
        assert len([path for path in Path(folder).rglob("*") if path.suffix in (".png", ".jpeg", ".webp")]) == 21

    def test_pack_again(self, referenced_run: Path, tmp_path: Path) -> None:
        copy = Path(shutil.copytree(referenced_run, tmp_path / "run"))
        shutil.rmtree(copy / "shards")
        (packed,) = run_pack(build(PackConfig, {"out": str(copy), "shard_size": 6, "seed": 3}), Reporter()).values()
        assert packed.samples == 21
        assert packed_samples(str(copy)) == packed_samples(str(referenced_run))


@pytest.mark.slow
class TestGoneOrChanged:
    """What is wrong is found before any work, and every command that reads the pool says so."""

    @pytest.fixture
    def begun(self, run: Run, given: dict[str, Any]) -> dict[str, Any]:
        run(**given)
        return given

    @pytest.mark.parametrize("what", ["array", "metadata", "mark", "cut", "all"])
    def test_files(self, what: str, counted: Counted, begun: dict[str, Any], other: Path) -> None:
        if what == "all":
            shutil.rmtree(other)
        elif what == "cut":
            os.truncate(part_file(other, "pool/img_emb", 1), 200)
        else:
            folder = {"array": "img_emb", "metadata": "metadata", "mark": "done"}[what]
            part_file(other, f"pool/{folder}", 1).unlink()
        before = inodes(Path(begun["out"]))

        with pytest.raises(InputError, match=r"not what it wrote.*pool-1|is not finished.*pool-1|/other/pool") as told:
            counted(**begun | {"budget": "5"})

        assert told.value.exit_code == 2
        assert inodes(Path(begun["out"])) == before
        assert differences(begun["out"])

    @pytest.mark.parametrize("update", [False, True])
    def test_other_bytes_under_the_same_identity(
        self, update: bool, counted: Counted, run: Run, begun: dict[str, Any], other: Path, settings: dict[str, Any]
    ) -> None:
        remade(other, 1)

        with pytest.raises(InputError, match=r"1 part is gone, or made anew.*pool-1\.tar") as told:
            run(**begun)
        assert told.value.exit_code == 2
        assert any("gone, or made anew" in line for line in differences(begun["out"]))
        if not update:
            return

        assert counted(**begun | {"update_pool": True}).embedded == []
        states = [(row["url"][-10:], row["state"]) for row in pool_parts(begun["out"])]
        assert states[1] == ("pool-1.tar", "retired") and states[4] == ("pool-1.tar", "active")
        assert differences(begun["out"]) == []

    def test_commands_that_read_the_pool(self, begun: dict[str, Any], other: Path, tmp_path: Path) -> None:
        part_file(other, "pool/done", 2).unlink()
        (tmp_path / "question.png").write_bytes(picture(205, "PNG"))
        question = {"run": begun["out"], "image": str(tmp_path / "question.png"), "sheet": str(tmp_path / "sheet.png")}
        expected = r"1 part is gone.*pool-2\.tar.*relocate"
        with pytest.raises(InputError, match=expected):
            run_search(build(SearchConfig, question), Reporter())
        with pytest.raises(InputError, match=expected):
            run_pack(build(PackConfig, {"out": begun["out"], "shard_size": 2}), Reporter())
        (state,) = [stage for stage in inspect_run(begun["out"]).stages if stage.name == "pool"]
        assert (state.parts, state.total) == (3, 4)

    def test_shards_in_its_place_are_embedded_when_it_is_asked_for(
        self, counted: Counted, begun: dict[str, Any], other: Path, settings: dict[str, Any]
    ) -> None:
        shutil.rmtree(other)
        shards = begun | {"pool": settings["pool"]}
        with pytest.raises(InputError, match="4 parts are gone"):
            counted(**shards)

        tasks = counted(**shards | {"update_pool": True})
        assert sorted(tasks.embedded) == [f"pool-{number}.tar" for number in range(4)]
        assert [row["state"] for row in pool_parts(begun["out"])] == ["retired"] * 4 + ["active"] * 4
        assert differences(begun["out"]) == []

    def test_the_other_run_moved_and_is_given_where_it_is(
        self, counted: Counted, begun: dict[str, Any], other: Path, tmp_path: Path
    ) -> None:
        moved = shutil.move(other, tmp_path / "moved")

        assert counted(**begun | {"pool": [f"{moved}/pool"]}).payloads == []

        assert {row["store"] for row in pool_parts(begun["out"])} == {f"{moved}/pool"}
        assert differences(begun["out"]) == []


class TestUpdates:
    """The other run follows its shards, and this run follows the other."""

    @pytest.fixture
    def both(self, run: Run, settings: dict[str, Any], own_data: Path, tmp_path: Path) -> tuple[dict[str, Any], ...]:
        pool = [str(own_data / f"pool-{number}.tar") for number in range(4)]
        other = settings | {"pool": pool, "out": str(tmp_path / "other"), "deny": None}
        given = other | {"pool": [f"{other['out']}/pool"], "out": str(tmp_path / "run")}
        run(**other)
        run(**given)
        return other, given

    @pytest.mark.slow
    def test_a_touched_shard(self, counted: Counted, both: tuple[dict[str, Any], ...], own_data: Path) -> None:
        other, given = both
        before = chosen(given["out"])
        os.utime(own_data / "pool-1.tar", (1, 1))
        counted(**other | {"update_pool": True})

        with pytest.raises(InputError, match=r"1 of another version.*update_pool"):
            counted(**given)
        assert counted(**given | {"update_pool": True}).embedded == []

        assert [row["state"] for row in pool_parts(given["out"])] == ["active"] * 4
        assert all(row["store"] for row in pool_parts(given["out"]))
        assert chosen(given["out"]) == before
        assert differences(given["out"]) == []

    def test_a_changed_and_a_gone_shard(
        self, counted: Counted, both: tuple[dict[str, Any], ...], own_data: Path
    ) -> None:
        other, given = both
        images = [(f"n{number}.png", picture(700 + number)) for number in range(5)]
        (own_data / "pool-1.tar").write_bytes(tar_bytes(images))
        other["pool"] = other["pool"][:3]
        counted(**other | {"update_pool": True})

        with pytest.raises(InputError, match="1 not given now, 1 of another size"):
            counted(**given)
        assert counted(**given | {"update_pool": True}).embedded == []

        states = [(row["url"][-10:], row["state"]) for row in pool_parts(given["out"])]
        assert states == [
            *(("pool-0.tar", "active"), ("pool-1.tar", "retired"), ("pool-2.tar", "active")),
            *(("pool-3.tar", "retired"), ("pool-1.tar", "active")),
        ]
        assert {row["id"] >> 32 for row in chosen(given["out"])} <= {0, 2, 4}
        assert differences(given["out"]) == []
