"""Stored parts that were cut short, exchanged, taken over or made from something else: nothing stale, nothing lost."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from jobs_for_tests import (
    CountsTasks,
    assert_same_bytes,
    curator,
    differences,
    files_of,
    ledger,
    part_file,
    picture,
    table,
    tar_bytes,
    write_ready,
)

from curator.errors import CuratorError, InputError
from curator.io import removal, storage
from curator_pipelines.run.run_directory import RunDirectory

Run = Callable[..., Any]


class TestDamage:
    """What happened to a finished part's files since."""

    @pytest.fixture
    def out(self, reference: Path, tmp_path: Path) -> Path:
        return Path(shutil.copytree(reference, tmp_path / "run"))

    @pytest.mark.parametrize("folder", ["pool/img_emb", "pool/metadata"])
    @pytest.mark.parametrize("how", ["deleted", "emptied", "cut"])
    def test_the_rerun_makes_it_anew(
        self, counted: Callable[..., CountsTasks], settings: Any, reference: Path, out: Path, folder: str, how: str
    ) -> None:
        path = part_file(out, folder, 2)
        path.unlink() if how == "deleted" else os.truncate(path, 0 if how == "emptied" else 900)

        done = counted(out=str(out), **settings)

        assert done.embedded == ["pool-2.tar"]
        assert_same_bytes(str(out), str(reference))
        assert differences(out) == []

    def test_what_a_late_worker_left_is_removed(
        self, counted: Callable[..., CountsTasks], settings: Any, reference: Path, out: Path
    ) -> None:
        for folder in ("pool/img_emb", "pool/metadata", "pool/done"):
            path = part_file(out, folder, 1)
            identity = path.stem.rpartition("-")[2]
            path.with_name(path.name.replace(identity, "f" * 16)).write_bytes(path.read_bytes()[:-7])
        assert len(differences(out)) == 1

        done = counted(out=str(out), **settings)

        assert not done.embedded
        assert_same_bytes(str(out), str(reference))


class TestRedo:
    """`redo` throws results away: marks first, and only the owner's."""

    @pytest.mark.parametrize("stop", [1, 3, 5, 8])
    def test_killed_on_the_way(
        self, run: Run, settings: Any, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
    ) -> None:
        out = Path(shutil.copytree(reference, tmp_path / "run"))
        removed = []
        remove = removal.remove

        def remove_or_die(url: str) -> None:
            removed.append(url)
            if len(removed) == stop:
                # Of what is being removed, arrays are gone before anything else.
                for path in [*Path(url).rglob("img_emb_*")][:1] or [path for path in [Path(url)] if path.is_file()]:
                    path.unlink()
                raise KeyboardInterrupt
            remove(url)

        with monkeypatch.context() as patch:
            patch.setattr(storage, "remove", remove_or_die)
            with pytest.raises(KeyboardInterrupt):
                run(out=str(out), **settings, redo="embed")
        for name in ("target", "pool"):
            marks = len(list((out / name / "done").glob("*")))
            arrays = len(list((out / name / "img_emb").glob("*")))
            assert not marks or marks == arrays

        run(out=str(out), **settings)

        assert_same_bytes(str(out), str(reference))

    def test_a_run_that_lost_its_directory_deletes_nothing(self, reference: Path, tmp_path: Path) -> None:
        class Lost:
            def check(self) -> None:
                raise CuratorError("was taken over by another run")

        out = Path(shutil.copytree(reference, tmp_path / "run"))
        before = files_of(str(out))
        run = RunDirectory(str(out), Lost())  # type: ignore[arg-type]
        with pytest.raises(CuratorError, match="taken over"):
            run.start({}, "embed")
        with pytest.raises(CuratorError, match="taken over"):
            run.throw_away("warmup")
        assert files_of(str(out)) == before


class TestReadyEmbeddings:
    """Parts that are made from other parts, and from other tools' arrays."""

    def test_corrected_keys_are_another_input(self, run: Run, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        pool = write_ready(tmp_path / "pool", [rng.normal(size=(20, 8)).astype(np.float32)])
        target = write_ready(tmp_path / "target", [rng.normal(size=(5, 8)).astype(np.float32)], prefix="t")
        given = {"out": str(tmp_path / "run"), "pool": [pool], "target": [target], "budget": "4", "manifest_only": True}
        run(**given)
        path = tmp_path / "pool" / "metadata" / "metadata_0000.parquet"
        rows = pq.read_table(path)
        keys = pa.array([f"K{row}" for row in range(20)])
        pq.write_table(rows.drop(["image_path"]).append_column("image_path", keys), path)

        with pytest.raises(InputError, match="changed"):
            run(**given)
        run(**given, redo="pool")

        keys = [row["image_path"] for row in table(given["out"], "pool", "metadata", "metadata_00000000.parquet")]
        assert {key[0] for key in keys} == {"K"}

    def test_what_another_run_left_out_is_told_and_counted(self, run: Run, settings: Any, tmp_path: Path) -> None:
        small = {3, 4, 11}
        images = [(f"{n}.png", picture(n, side=20 if n in small else 48)) for n in range(12)] + [("x.png", b"no image")]
        (tmp_path / "pool.tar").write_bytes(tar_bytes(images))
        given = settings | {"deny": None, "budget": "9", "max_bad": 0.5, "pool": [str(tmp_path / "pool.tar")]}
        first = run(out=str(tmp_path / "first"), **given | {"min_side": 30})

        second = run(out=str(tmp_path / "second"), **given | {"pool": [str(tmp_path / "first" / "pool")]})

        assert second.accounts["pool"] == first.accounts["pool"]
        assert (second.accounts["pool"].unwanted, second.accounts["pool"].bad) == (3, 1)
        assert ledger(str(tmp_path / "second")) == ledger(str(tmp_path / "first"))
        assert differences(tmp_path / "second") == []
        # The same shards without the filter are other parts, and the copy's own filter is not forgotten.
        whole = run(out=str(tmp_path / "second"), **given)
        assert whole.accounts["pool"].embedded == 12

    def test_an_exchanged_array_of_another_run_is_refused(
        self, run: Run, settings: Any, reference: Path, tmp_path: Path
    ) -> None:
        other = Path(shutil.copytree(reference, tmp_path / "other"))
        path = part_file(other, "pool/img_emb", 1)
        np.save(path, np.load(path)[::-1])
        with pytest.raises(CuratorError, match=rf"{path.name} is not what its run wrote"):
            run(out=str(tmp_path / "run"), **settings | {"pool": [str(other / "pool")], "copy_pool": True})


class TestUpdatePool:
    """Shards of the pool that are gone, changed or written anew."""

    @pytest.fixture
    def begun(self, run: Run, settings: dict[str, Any], own_data: Path, tmp_path: Path) -> dict[str, Any]:
        """A finished run over data of its own; gives its settings."""
        pool = [str(own_data / f"pool-{number}.tar") for number in range(4)]
        own = {"target": [str(own_data / "target")], "pool": pool, "out": str(tmp_path / "run")}
        given = settings | own | {"budget": "15", "deny": None}
        run(**given)
        return given

    def test_without_it_the_counts_and_the_advice(self, run: Run, begun: dict[str, Any], own_data: Path) -> None:
        os.utime(own_data / "pool-1.tar", (1, 1))
        with open(own_data / "pool-2.tar", "ab") as file:
            file.write(bytes(512))
        with pytest.raises(InputError) as told:
            run(**begun | {"pool": begun["pool"][1:]})
        assert "(of 4 sources 1 not given now, 1 of another size, 1 of another version) (pool)" in str(told.value)
        assert "give update_pool=True" in str(told.value)

    def test_a_touched_shard_is_not_encoded_again(
        self, counted: Callable[..., CountsTasks], begun: dict[str, Any], own_data: Path
    ) -> None:
        before = files_of(begun["out"])
        os.utime(own_data / "pool-1.tar", (1, 1))

        done = counted(**begun | {"update_pool": True})

        assert done.embedded == []
        after = files_of(begun["out"])
        kinds = ("pool/img_emb", "pool/metadata", "selection/selected", "shards/curated")
        same = [name for name in before if name.startswith(kinds)]
        assert len(same) > 10
        assert all(before[name] == after[name] for name in same)
        assert [row["state"] for row in table(begun["out"], "pool", "parts.parquet")] == ["active"] * 4
        assert differences(Path(begun["out"])) == []
        assert counted(**begun).payloads == []

    def test_a_caption_of_a_touched_shard_makes_it_another(
        self, counted: Callable[..., CountsTasks], begun: dict[str, Any], own_data: Path
    ) -> None:
        path = own_data / "pool-1.tar"
        data = path.read_bytes()
        path.write_bytes(data.replace(b"caption of 203", b"caption of 999"))
        assert path.read_bytes() != data
        os.utime(path, (1, 1))

        done = counted(**begun | {"update_pool": True})

        assert done.embedded == ["pool-1.tar"]
        rows = table(begun["out"], "pool", "parts.parquet")
        assert [(row["url"][-10:], row["state"]) for row in rows] == [
            *(("pool-0.tar", "active"), ("pool-1.tar", "retired"), ("pool-2.tar", "active")),
            *(("pool-3.tar", "active"), ("pool-1.tar", "active")),
        ]
        assert differences(Path(begun["out"])) == []

    @pytest.mark.parametrize("search", ["exact", "ivf"])
    @pytest.mark.slow
    def test_a_gone_and_a_new_shard(
        self, counted: Callable[..., CountsTasks], run: Run, begun: dict[str, Any], tmp_path: Path, search: str
    ) -> None:
        begun |= {"search": search} | ({"recall": 1.0} if search == "ivf" else {})
        run(**begun)
        chosen = table(begun["out"], "selection", "selected.parquet")
        metadata = table(begun["out"], "pool", "metadata", "metadata_00000003.parquet")
        kept = {row["image_path"]: row["index"] for row in metadata}
        (tmp_path / "new.tar").write_bytes(tar_bytes([(f"n{n}.png", picture(700 + n)) for n in range(5)]))
        pool = [*begun["pool"][:1], *begun["pool"][2:], str(tmp_path / "new.tar")]
        given = begun | {"pool": pool, "update_pool": True}

        done = counted(**given)

        assert done.embedded == ["new.tar"]
        out = Path(begun["out"])
        arrays = sorted((out / "pool" / "img_emb").iterdir())
        assert [int(path.name[8:16]) for path in arrays] == [0, 2, 3, 4]
        assert not list((out / "pool" / "done").glob("00000001-*"))
        now = table(begun["out"], "selection", "selected.parquet")
        assert 1 in {row["id"] >> 32 for row in chosen}
        assert 1 not in {row["id"] >> 32 for row in now}
        assert all(kept[row["key"]] == row["id"] & 0xFFFFFFFF for row in now if row["id"] >> 32 == 3)
        assert differences(out) == []
        # What remains is what a run of its own would choose.
        run(**given | {"out": str(tmp_path / "fresh"), "update_pool": False})
        fresh = table(str(tmp_path / "fresh"), "selection", "selected.parquet")
        assert [(row["shard"], row["key"], row["score"]) for row in now] == [
            (row["shard"], row["key"], row["score"]) for row in fresh
        ]
        # Referenced pools pass over what is retired.
        summary = run(**given | {"pool": [str(out / "pool")], "out": str(tmp_path / "other"), "update_pool": False})
        assert summary.accounts["pool"].embedded == summary.selection["candidates"]
        assert len(table(str(tmp_path / "other"), "pool", "parts.parquet")) == 4

    def test_the_summary_counts_and_the_selection_is_made_anew(
        self, run: Run, begun: dict[str, Any], capfd: pytest.CaptureFixture[str]
    ) -> None:
        summary = run(**begun | {"pool": begun["pool"][1:], "update_pool": True})
        assert summary.accounts["pool"].retired == 1
        assert "1 parts retired" in summary.to_text()
        told = " ".join(capfd.readouterr().err.split())
        assert "pool: 1 parts are retired, 0 stay" in told
        assert "samples chosen before are of shards that are gone or changed: chosen anew" in told


def test_an_older_format_is_refused_in_one_line(reference: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(reference, tmp_path / "run"))
    record = (out / "run.json").read_text()
    (out / "run.json").write_text(record.replace('"version": 3', '"version": 2'))
    code, stderr = curator(["verify", str(out)])
    assert code == 2
    (line,) = stderr.strip().splitlines()
    assert "was written by another format version (2; this curator knows 3)" in line
    assert line.endswith(": use the curator that wrote it, or give another OUT")
