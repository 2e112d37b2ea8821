"""`curator verify`: silent about a sound run, and it names what was tampered with."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset as wds
from jobs_for_tests import curator, differences, entries_of, packed_samples, part_file, table, tar_bytes

from curator.errors import InputError
from curator_pipelines.jobs.queries.verify_run import verify
from curator_pipelines.run.progress import Reporter

Run = Callable[..., Any]


@pytest.fixture
def out(reference: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(reference, tmp_path / "run"))


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_sound_run(reference: Path) -> None:
    result = verify(str(reference), Reporter())

    assert result.differences == []
    assert result.checked == {
        "parts": 5,
        "embeddings": 68,
        "ledger lines": 1,
        "chosen": 21,
        "output shards": 4,
    }


def test_exit_codes(reference: Path, out: Path) -> None:
    (out / "shards" / "sizes.json").unlink()

    assert curator(["verify", str(reference)])[0] == 0
    assert curator(["verify", str(out)])[0] == 1
    assert curator(["verify", str(out.parent)])[0] == 2


def test_a_flipped_byte_in_a_tar(out: Path) -> None:
    path = out / "shards" / "curated-000001.tar"
    data = bytearray(path.read_bytes())
    data[700] ^= 1
    path.write_bytes(data)

    (line,) = differences(out)
    assert "curated-000001.tar" in line
    assert "differs from its source" in line


@pytest.mark.parametrize("place", [0, 1, 20])
def test_a_row_that_the_manifest_has_twice(place: int, out: Path) -> None:
    path = out / "shards" / "manifest.parquet"
    rows = pq.read_table(path)
    (doubled,) = rows.slice(place, 1)["id"].to_pylist()
    pq.write_table(pa.concat_tables([rows.slice(0, place + 1), rows.slice(place)]), path)

    lines = differences(out)
    assert f"1 ids are in the manifest more than once, the first {doubled}" in lines
    assert len(lines) == 2 and "sizes.json says" in lines[0]


@pytest.mark.parametrize("field", ["seen", "embedded", "dim"])
def test_an_edited_done_mark(field: str, out: Path) -> None:
    mark = next((out / "pool" / "done").glob("00000001-*"))
    edit_json(mark, **{field: json.loads(mark.read_text())[field] + 1})

    assert any("pool part 1" in line for line in differences(out))


def test_a_truncated_array(out: Path) -> None:
    path = part_file(out, "pool/img_emb", 1)
    path.write_bytes(path.read_bytes()[:-100])

    assert any("pool part 1" in line and "img_emb_00000001" in line for line in differences(out))


def test_a_shorter_array(out: Path) -> None:
    path = part_file(out, "pool/img_emb", 1)
    np.save(path, np.load(path)[:-1])

    assert any("pool part 1" in line and "35" in line for line in differences(out))


def test_an_array_that_is_not_of_unit_length(out: Path) -> None:
    path = part_file(out, "target/img_emb", 0)
    array = np.load(path)
    array[2] *= 2
    np.save(path, array)

    changed, length = differences(out)
    assert changed == f"target part 0: {path.name} is not the file that was written (its sha256 differs)"
    assert length == "target part 0: 1 rows are not of unit length, the first is row 2"


def test_an_exchanged_array(out: Path) -> None:
    path = part_file(out, "pool/img_emb", 1)
    np.save(path, np.load(path)[::-1])

    (line,) = differences(out)
    assert line == f"pool part 1: {path.name} is not the file that was written (its sha256 differs)"


def test_without_the_register_of_parts(out: Path) -> None:
    (out / "pool" / "parts.parquet").unlink()

    assert "pool/parts.parquet is missing or holds no part: run again" in differences(out)
    assert curator(["verify", str(out)])[0] == 1


def test_what_a_late_worker_of_an_old_run_left(out: Path) -> None:
    for folder in ("pool/img_emb", "pool/metadata", "pool/done"):
        path = part_file(out, folder, 1)
        shutil.copy(path, path.with_name(re.sub("-[0-9a-f]{16}", "-" + "f" * 16, path.name)))

    (line,) = differences(out)
    assert line == "pool holds files 00000001-ffffffffffffffff, which are no part's of it: run again"


def test_a_removed_part(out: Path) -> None:
    next((out / "pool" / "done").glob("00000003-*")).unlink()

    assert any("pool part 3" in line and "not finished" in line for line in differences(out))


def test_a_removed_ledger_line(out: Path) -> None:
    path = out / "quarantine.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)

    (line,) = differences(out)
    assert line.startswith("quarantine.parquet lacks")
    assert "0002 (decode_error)" in line


def test_an_invented_ledger_line(out: Path) -> None:
    path = out / "quarantine.parquet"
    ledger = pq.read_table(path)
    pq.write_table(pa.concat_tables([ledger, ledger]), path)

    (line,) = differences(out)
    assert line.startswith("quarantine.parquet has")


def test_a_selection_of_something_else(out: Path) -> None:
    path = out / "selection" / "selected.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)

    assert any("20" in line and "21" in line for line in differences(out))


def test_a_lost_tar(out: Path) -> None:
    (out / "shards" / "curated-000003.tar").unlink()

    assert differences(out) == ["curated-000003.tar of the manifest is missing"]


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_a_source_that_is_not_what_it_was(
    how: str, run: Run, settings: dict[str, Any], own_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "own"
    own = settings | {"pool": [str(own_data / f"pool-{number}.tar") for number in range(4)]}
    run(out=str(out), **own)
    used = {row["shard"] for row in table(str(out), "selection", "selected.parquet")}
    victim = own_data / "pool-1.tar"
    assert str(victim) in used
    if how == "gone":
        victim.unlink()
    else:
        # Same size, other pictures.
        entries = [(name, bytes(reversed(data))) for name, data in entries_of(200, 36)]
        victim.write_bytes(tar_bytes(entries))

    lines = differences(out)

    assert lines
    assert all("pool-1.tar" in line for line in lines)


def test_no_run_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no run\.json"):
        verify(str(tmp_path), Reporter())


def test_webdataset_reads_the_tars(reference: Path, data: Path) -> None:
    urls = [str(path) for path in sorted((reference / "shards").glob("*.tar"))]
    read = list(wds.WebDataset(urls, shardshuffle=False, empty_check=False).decode("pil"))

    manifest = table(str(reference), "shards", "manifest.parquet")
    assert [sample["__key__"] for sample in read] == [row["out_key"] for row in manifest]
    for sample, row in zip(read, manifest, strict=True):
        (image,) = (sample[name] for name in ("png", "jpeg", "webp") if name in sample)
        assert image.size == (row["width"], row["height"])
        assert sample["txt"].startswith("caption of ")
    bytes_there = [sample for shard in packed_samples(str(reference)).values() for sample in shard]
    assert len(bytes_there) == len(read)
