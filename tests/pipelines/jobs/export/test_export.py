"""What is handed over: the bytes of the sources, under names that every file system takes, as other tools read it."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st
from jobs_for_tests import chosen, copy_tree, picture

from curator.errors import CuratorError, InputError
from curator.io import storage
from curator.settings import build
from curator_pipelines.cli.main import run as command
from curator_pipelines.config import ExportConfig
from curator_pipelines.jobs.export import Exported, run_export
from curator_pipelines.jobs.export.names import LONGEST, file_name
from curator_pipelines.run import Reporter

Run = Callable[..., Any]
# Of the images in the data.
ENDINGS = (".png", ".jpeg", ".webp")


def export(out: str | Path, to: str, dest: str | Path | None = None) -> Exported:
    settings = {"out": str(out), "to": to} | ({"dest": str(dest)} if dest else {})
    return run_export(build(ExportConfig, settings), Reporter(quiet=True))


def members(row: dict[str, Any]) -> dict[str, bytes]:
    """A slow obvious twin: ending -> bytes of a sample, by tarfile."""
    with tarfile.open(row["shard"]) as tar:
        names = [name for name in tar.getnames() if name.partition(".")[0] == row["key"]]
        files = {name.partition(".")[2]: tar.extractfile(name) for name in names}
        return {ext: file.read() for ext, file in files.items() if file is not None}


def write_pax(path: Path, entries: list[tuple[str, bytes]]) -> None:
    """A tar with names of any length and letters."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_has_every_member_byte_for_byte(reference: Path, tmp_path: Path) -> None:
    result = export(reference, "folder", tmp_path / "out")

    expected = {}
    for place, row in enumerate(chosen(reference), 1):
        for ext, data in members(row).items():
            expected[f"centroid-{row['centroid']:05d}/{place:06d}-{row['key']}.{ext}"] = data
    found = files_below(tmp_path / "out")
    found.pop("export.json")
    assert found == expected
    assert result.samples == len(chosen(reference)) == 21
    assert any(name.endswith(".txt") for name in expected)


def test_a_list_is_what_deny_reads(reference: Path, run: Run, settings: dict[str, Any], tmp_path: Path) -> None:
    export(reference, "list", tmp_path / "out")

    lines = (tmp_path / "out/chosen.txt").read_text().splitlines()
    assert lines == [f"{row['shard']}\t{row['key']}" for row in chosen(reference)]
    run(out=str(tmp_path / "rest"), **settings | {"deny": str(tmp_path / "out/chosen.txt")})
    before = {row["id"] for row in chosen(reference)}
    assert not before & {row["id"] for row in chosen(tmp_path / "rest")}


def test_atlas_has_places_pictures_and_what_is_known(reference: Path, tmp_path: Path) -> None:
    told = export(reference, "atlas", tmp_path / "two words")

    table = pq.read_table(tmp_path / "two words/atlas.parquet")
    rows = table.to_pylist()
    # What is looked at first comes first, and without several targets there is nothing to say of them.
    assert table.column_names[:4] == ["image", "kind", "score", "place"] and "target" not in table.column_names
    assert f"embedding-atlas '{tmp_path}/two words/atlas.parquet' --x x --y y --image image" in told.to_text()
    kinds = [row["kind"] for row in rows]
    assert (kinds.count("chosen"), kinds.count("target"), kinds.count("pool")) == (21, 9, 59 - 21)
    assert [row["key"] for row in rows[:21]] == [row["key"] for row in chosen(reference)]
    assert [row["score"] for row in rows[:21]] == [row["score"] for row in chosen(reference)]
    assert all(row["image"]["bytes"].startswith(b"\xff\xd8") for row in rows)
    assert len({(row["x"], row["y"]) for row in rows}) > 50


def test_atlas_has_no_empty_columns(run: Run, settings: dict[str, Any], data: Path, tmp_path: Path) -> None:
    run(out=str(tmp_path / "random"), **settings | {"selector": "random", "clusters": None, "budget": "5"})
    two = settings | {"target": [f"a={data}/target", f"b={data}/pool-0.tar"], "skip_own": False, "max_bad": 0.5}
    run(out=str(tmp_path / "two"), **two)
    for name in ("random", "two"):
        export(tmp_path / name, "atlas", tmp_path / "out" / name)

    random = pq.read_table(tmp_path / "out/random/atlas.parquet")
    assert not {"target", "score", "centroid", "round"} & set(random.column_names)
    assert set(pq.read_table(tmp_path / "out/two/b/atlas.parquet").column("target").to_pylist()) == {"b"}


def test_fiftyone_has_a_line_and_a_file_for_each(reference: Path, tmp_path: Path) -> None:
    export(reference, "fiftyone", tmp_path / "out")

    assert "version" not in json.loads((tmp_path / "out/metadata.json").read_text())
    samples = json.loads((tmp_path / "out/samples.json").read_text())["samples"]
    assert [sample["key"] for sample in samples] == [row["key"] for row in chosen(reference)]
    for sample, row in zip(samples, chosen(reference), strict=True):
        ending = sample["filepath"].rpartition(".")[2]
        assert (tmp_path / "out" / sample["filepath"]).read_bytes() == members(row)[ending]


@pytest.mark.parametrize("to", ["folder", "fiftyone"])
def test_it_goes_on_where_it_was_killed(
    to: str, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(reference, to, tmp_path / "whole")
    real, left = storage.write_bytes, 15

    def dies(url: str, data: bytes) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        real(url, data)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_bytes", dies)
        with pytest.raises(KeyboardInterrupt):
            export(reference, to, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*") if path.is_file()}
    assert len(before) == 15
    export(reference, to, tmp_path / "out")

    assert files_below(tmp_path / "out") == files_below(tmp_path / "whole")
    images = [path for path in before if path.suffix in ENDINGS]
    assert images and all(path.stat().st_mtime_ns == before[path] for path in images)


def test_on_s3(reference: Path, s3_bucket: str, tmp_path: Path) -> None:
    copy_tree(str(reference), f"{s3_bucket}/run")
    result = export(f"{s3_bucket}/run", "folder")
    export(reference, "folder", tmp_path / "out")

    assert result.dest == f"{s3_bucket}/run/export/folder"
    copy_tree(f"{s3_bucket}/run/export/folder", str(tmp_path / "copied"))
    assert files_below(tmp_path / "copied") == files_below(tmp_path / "out")
    # FiftyOne reads no such URL, so the line that is printed names none.
    told = export(f"{s3_bucket}/run", "fiftyone").to_text()
    assert "copy it to a local folder" in told and "from_dir('FOLDER'" in told


def test_what_cannot_be_read_is_counted_and_fails(
    run: Run, own_data: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    own = settings | {"target": [str(own_data / "target")], "pool": [f"{own_data}/pool-{n}.tar" for n in range(4)]}
    run(out=str(tmp_path / "run"), **own)
    lost = [row for row in chosen(tmp_path / "run") if row["shard"].endswith("pool-1.tar")]
    kept = [row for row in chosen(tmp_path / "run") if row not in lost]
    (own_data / "pool-1.tar").rename(own_data / "away.tar")

    with pytest.raises(CuratorError, match=rf"{len(lost)} samples of 21 could not be exported.* is not there"):
        export(tmp_path / "run", "fiftyone", tmp_path / "out")

    samples = json.loads((tmp_path / "out/samples.json").read_text())["samples"]
    assert [sample["key"] for sample in samples] == [row["key"] for row in kept]
    (own_data / "away.tar").rename(own_data / "pool-1.tar")
    assert export(tmp_path / "run", "fiftyone", tmp_path / "out").samples == 21


def test_other_bytes_than_those_embedded_are_refused(
    run: Run, own_data: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    own = settings | {"target": [str(own_data / "target")], "pool": [f"{own_data}/pool-{n}.tar" for n in range(4)]}
    run(out=str(tmp_path / "run"), **own)
    row = chosen(tmp_path / "run")[0]
    tar = Path(row["shard"])
    data = bytearray(tar.read_bytes())
    image = max(members(row).values(), key=len)
    at = data.index(image)
    data[at + len(image) // 2] ^= 1
    tar.write_bytes(data)

    with pytest.raises(CuratorError, match=r"1 sample of 21 could not be exported.*changed since it was embedded"):
        export(tmp_path / "run", "folder", tmp_path / "out")


def test_several_targets_have_a_folder_each(run: Run, settings: dict[str, Any], data: Path, tmp_path: Path) -> None:
    two = settings | {"target": [f"a={data}/target", f"b={data}/pool-0.tar"], "skip_own": False, "max_bad": 0.5}
    run(out=str(tmp_path / "run"), **two)

    result = export(tmp_path / "run", "list", tmp_path / "out")

    for name in ("a", "b"):
        assert len((tmp_path / f"out/{name}/chosen.txt").read_text().splitlines()) == 21
    assert result.samples == 42


def test_without_centroids_files_stand_side_by_side(run: Run, settings: dict[str, Any], tmp_path: Path) -> None:
    run(out=str(tmp_path / "run"), **settings | {"selector": "random", "clusters": None, "budget": "5"})
    export(tmp_path / "run", "folder", tmp_path / "out")
    assert sum(path.suffix in ENDINGS for path in (tmp_path / "out").iterdir()) == 5


def test_a_folder_that_holds_something_else_is_refused(reference: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        export(reference, "list", tmp_path)
    export(reference, "list", tmp_path / "out")
    with pytest.raises(InputError, match="another selection"):
        export(reference, "folder", tmp_path / "out")


def test_no_finished_selection_is_one_line(reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["export", str(tmp_path / "nothing"), "--to", "list"]) == 2
    shutil.copytree(reference, tmp_path / "run")
    (tmp_path / "run/selection/selection.json").unlink()
    assert command(["export", str(tmp_path / "run"), "--to", "list"]) == 2
    first, second = [line for line in capsys.readouterr().err.splitlines() if line.startswith("curator: ")]
    assert "run.json" in first and "no finished selection" in second


def test_hostile_keys_stay_in_the_folder(run: Run, settings: dict[str, Any], tmp_path: Path) -> None:
    keys = ["../../etc/x", "/abs/olute", "a/b c", "äpfel", "ä" * 200, "same"]
    for shard in range(2):
        entries = [(f"{key}.png", picture(10 * shard + number)) for number, key in enumerate(keys)]
        write_pax(tmp_path / f"pool-{shard}.tar", entries)
    pool = [str(tmp_path / f"pool-{shard}.tar") for shard in range(2)]
    run(out=str(tmp_path / "run"), **settings | {"pool": pool, "deny": None, "budget": "100%", "skip_own": False})

    result = export(tmp_path / "run", "folder", tmp_path / "out")

    found = files_below(tmp_path / "out")
    images = [data for name, data in found.items() if name.endswith(".png")]
    assert result.samples == len(images) == len(chosen(tmp_path / "run"))
    assert set(images) <= {picture(10 * shard + number) for shard in range(2) for number in range(len(keys))}
    assert not (tmp_path / "etc").exists()


@given(st.text(), st.text())
def test_names_are_safe_and_differ(first: str, second: str) -> None:
    names = [file_name(1, first), file_name(2, second)]
    assert len(set(names)) == 2
    for name in names:
        assert not set(name) & set('/\\\0:*?"<>|\n\t ') and not name.startswith((".", "-"))
        assert len(name.encode()) <= LONGEST + 7
