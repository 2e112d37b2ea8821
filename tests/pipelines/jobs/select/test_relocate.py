"""Shards and pools that lie elsewhere than when they were embedded."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jobs_for_tests import CountsTasks, differences, files_of, inodes, packed_samples, part_file, pool_parts, table

from curator.errors import CuratorError, InputError
from curator_pipelines.config.queries import ExportConfig, RelocateConfig, ReportConfig
from curator_pipelines.config.select import PackConfig, build
from curator_pipelines.jobs.export.export_run import run_export
from curator_pipelines.jobs.report.report_run import run_report
from curator_pipelines.jobs.select.pack import run_pack
from curator_pipelines.jobs.select.relocate import Relocated, run_relocate
from curator_pipelines.run.progress import Reporter

Run = Callable[..., Any]
Counted = Callable[..., CountsTasks]
pytestmark = pytest.mark.slow

NAMES = [f"pool-{number}.tar" for number in range(4)]


def relocate(out: Path | str, *moves: str) -> Relocated:
    return run_relocate(build(RelocateConfig, {"out": str(out), "moves": list(moves)}), Reporter())


def pack(out: Path | str, size: int = 6) -> Any:
    return run_pack(build(PackConfig, {"out": str(out), "shard_size": size, "seed": 3}), Reporter())[""]


def without_register(out: Path) -> dict[str, bytes]:
    return {name: data for name, data in files_of(str(out)).items() if name != "pool/parts.parquet"}


@pytest.fixture
def begun(run: Run, settings: dict[str, Any], own_data: Path, tmp_path: Path) -> dict[str, Any]:
    """A finished run over shards that a test may move; gives its settings."""
    pool = [str(own_data / name) for name in NAMES]
    given = settings | {"pool": pool, "out": str(tmp_path / "run"), "deny": None}
    run(**given)
    return given


@pytest.fixture
def moved(begun: dict[str, Any], own_data: Path, tmp_path: Path) -> Path:
    """Where its shards went; copies have other dates."""
    new = tmp_path / "new"
    new.mkdir()
    for name in NAMES:
        shutil.move(own_data / name, new / name)
        os.utime(new / name, (7, 7))
    return new


def test_packing_reads_the_new_place_and_nothing_else_is_another(
    begun: dict[str, Any], moved: Path, own_data: Path
) -> None:
    out = Path(begun["out"])
    before, samples = without_register(out), packed_samples(str(out))
    with pytest.raises(CuratorError, match=r"pool-0\.tar is gone.*relocate"):
        pack(out, 7)

    told = relocate(out, f"{own_data}={moved}")

    assert (told.sources, told.parts, told.unmoved) == (4, 0, 1)  # the target is where it was
    rows = pool_parts(out)
    assert [row["url"] for row in rows] == [str(own_data / name) for name in NAMES]
    assert [row["read_url"] for row in rows] == [str(moved / name) for name in NAMES]
    assert {row["read_version"] for row in rows} == {str(7 * 10**9)}
    assert without_register(out) == before
    assert pack(out).reused
    shutil.rmtree(out / "shards")
    shutil.rmtree(out / "packing", ignore_errors=True)
    assert not pack(out).reused
    assert packed_samples(str(out)) == samples
    assert without_register(out) == before
    assert differences(out) == []
    (noted,) = json.loads((out / "run.json").read_text())["relocated"]
    assert (noted["moves"], noted["sources"]) == ([{"from": str(own_data), "to": str(moved)}], 4)


def test_the_new_place_is_the_same_run(counted: Counted, begun: dict[str, Any], moved: Path, own_data: Path) -> None:
    out = begun["out"]
    new = begun | {"pool": [str(moved / name) for name in NAMES]}
    with pytest.raises(InputError, match=r"4 not given now.*relocate this run"):
        counted(**new)

    relocate(out, f"{own_data}={moved}")

    before = files_of(out)
    assert counted(**new).payloads == []
    assert files_of(out) == before
    # Of a source that is written anew later, the version at its new place counts.
    os.utime(moved / NAMES[1], (9, 9))
    with pytest.raises(InputError, match="1 of another version"):
        counted(**new)
    assert counted(**new | {"update_pool": True}).embedded == []
    assert [row["url"] for row in pool_parts(out)] == [str(own_data / name) for name in NAMES]
    assert differences(out) == []


def test_what_was_not_embedded_yet_is_read_there(
    counted: Counted, settings: dict[str, Any], own_data: Path, tmp_path: Path, reference: Path
) -> None:
    out, new = tmp_path / "run", tmp_path / "new"
    given = settings | {"out": str(out), "pool": [str(own_data / name) for name in NAMES]}
    counted(**given)
    for folder in ("done", "img_emb", "metadata"):
        part_file(out, f"pool/{folder}", 2).unlink()
    shutil.copytree(own_data, new)
    os.utime(new / NAMES[2], (7, 7))
    relocate(out, f"{own_data}={new}")

    assert counted(**given | {"pool": [str(new / name) for name in NAMES]}).embedded == [NAMES[2]]
    rows = table(str(out), "pool", "metadata", "metadata_00000002.parquet")
    assert {row["shard"] for row in rows} == {str(own_data / NAMES[2])}
    assert differences(out) == []


def test_reports_and_exports_find_the_images(
    begun: dict[str, Any], moved: Path, own_data: Path, tmp_path: Path
) -> None:
    relocate(begun["out"], f"{own_data}={moved}")
    run_report(build(ReportConfig, {"out": begun["out"]}), Reporter())
    assert "its source is not there any more" not in Path(begun["out"], "report.html").read_text()
    folder = tmp_path / "folder"
    run_export(build(ExportConfig, {"out": begun["out"], "to": "folder", "dest": str(folder)}), Reporter())
    assert len([path for path in folder.rglob("*") if path.suffix in (".png", ".jpeg", ".webp")]) == 21


def test_several_prefixes_and_a_part_of_the_shards(begun: dict[str, Any], own_data: Path, tmp_path: Path) -> None:
    out, first, second = begun["out"], tmp_path / "first", tmp_path / "second"
    for folder, name in ((first, NAMES[0]), (second, NAMES[1])):
        folder.mkdir()
        shutil.move(own_data / name, folder / name)

    told = relocate(out, f"{own_data / NAMES[0]}={first / NAMES[0]}", f"{own_data / NAMES[1]}={second / NAMES[1]}")

    assert (told.sources, told.unmoved) == (2, 3)
    assert [row["read_url"] for row in pool_parts(out)] == [str(first / NAMES[0]), str(second / NAMES[1]), None, None]
    pack(out, 5)
    assert differences(out) == []
    # On, by the place where it is now; and home.
    shutil.move(first, tmp_path / "third")
    relocate(out, f"{first}={tmp_path / 'third'}")
    with pytest.raises(InputError, match="no source of this run lies there"):
        relocate(out, f"{first}={tmp_path / 'third'}")
    assert pool_parts(out)[0]["read_url"] == str(tmp_path / "third" / NAMES[0])
    shutil.move(tmp_path / "third" / NAMES[0], own_data / NAMES[0])
    relocate(out, f"{tmp_path / 'third'}={own_data}")
    assert pool_parts(out)[0]["read_url"] is None
    pack(out, 4)
    assert differences(out) == []


@pytest.mark.parametrize("wrong", ["missing", "size", "both"])
def test_a_shard_that_is_missing_or_of_another_size(
    wrong: str, begun: dict[str, Any], moved: Path, own_data: Path
) -> None:
    before = inodes(Path(begun["out"]))
    expected = []
    if wrong in ("missing", "both"):
        (moved / NAMES[1]).unlink()
        expected.append("1 are not there")
    if wrong in ("size", "both"):
        os.truncate(moved / NAMES[2], 1024)
        os.truncate(moved / NAMES[3], 1024)
        expected.append("2 have another size")

    with pytest.raises(InputError, match=f"of 4 sources at the new place {' and '.join(expected)}") as told:
        relocate(begun["out"], f"{own_data}={moved}")

    assert told.value.exit_code == 2
    after = inodes(Path(begun["out"]))
    assert {name: after[name] for name in before} == before


def test_another_content_of_the_same_size_fails_the_packing(begun: dict[str, Any], moved: Path, own_data: Path) -> None:
    relocate(begun["out"], f"{own_data}={moved}")
    state = os.stat(moved / NAMES[1])
    data = bytearray((moved / NAMES[1]).read_bytes())
    for start in range(700, len(data), 2048):
        data[start] ^= 255
    (moved / NAMES[1]).write_bytes(data)
    os.utime(moved / NAMES[1], ns=(state.st_atime_ns, state.st_mtime_ns))

    with pytest.raises(CuratorError, match=r"changed|sha256"):
        pack(begun["out"], 5)


@pytest.mark.parametrize(
    ("move", "message"),
    [
        ("/nowhere=/else", "no source of this run lies there"),
        ("/nowhere", "give OLD=NEW"),
        ("{data}/pool=/else", "no source of this run lies there"),  # a part of a name is no folder
        ("{data}=s3://key:secret@bucket/x", "a secret"),
        ("{data}/pool-0.tar={data}/pool-1.tar", "at the new place|read at one place"),
    ],
)
def test_what_cannot_be_meant(move: str, message: str, begun: dict[str, Any], own_data: Path) -> None:
    with pytest.raises(InputError, match=message):
        relocate(begun["out"], move.format(data=own_data))


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run is there"):
        relocate(tmp_path, "/a=/b")


class TestHeldByAnotherRun:
    """The store of another run's parts moved."""

    @pytest.fixture
    def held(self, run: Run, settings: dict[str, Any], reference: Path, tmp_path: Path) -> tuple[Path, Path, Path]:
        """The run, where the other run was, and where it is."""
        other = Path(shutil.copytree(reference, tmp_path / "other"))
        run(out=str(tmp_path / "run"), **settings | {"pool": [f"{other}/pool"]})
        shutil.move(other, tmp_path / "there")
        return tmp_path / "run", other, tmp_path / "there"

    def test_its_parts_are_read_there(self, held: tuple[Path, Path, Path]) -> None:
        out, other, there = held
        with pytest.raises(InputError, match="4 parts are gone"):
            pack(out, 5)

        told = relocate(out, f"{other}={there}")

        assert (told.sources, told.parts) == (0, 4)
        assert {row["store"] for row in pool_parts(out)} == {f"{there}/pool"}
        pack(out, 5)
        assert differences(out) == []

    def test_parts_that_are_not_as_they_were(self, held: tuple[Path, Path, Path]) -> None:
        out, other, there = held
        part_file(there, "pool/done", 1).unlink()
        with pytest.raises(InputError, match=r"of 4 parts of other runs 1 are not at the new place"):
            relocate(out, f"{other}={there}")
