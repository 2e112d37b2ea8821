from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator.errors import UnusableInput
from curator.io import parquet, schemas, storage

ALL = {
    "parts": schemas.PARTS,
    "metadata": schemas.METADATA,
    "quarantine": schemas.QUARANTINE,
    "selected": schemas.SELECTED,
    "rounds": schemas.ROUNDS,
    "skipped": schemas.SKIPPED,
    "manifest": schemas.MANIFEST,
}
SELECTED = {
    "id": np.array([5, 1 << 40], np.int64),
    "shard": ["s.tar", "é.tar"],
    "key": ["a/b", "日本"],
    "score": np.array([0.5, 0.25], np.float32),
    "centroid": [1, 2],
    "round": [0, 0],
}


@pytest.mark.parametrize("name", ALL)
def test_every_file_says_what_it_is(name, tmp_path):
    url = str(tmp_path / "file.parquet")
    parquet.write_table(url, ALL[name], [])
    found = pq.read_schema(url)
    assert found.equals(ALL[name])
    assert found.metadata[b"curator.format"] == name.encode()
    assert found.metadata[b"curator.version"] == b"3"
    assert parquet.read_table(url, ALL[name]).num_rows == 0


@pytest.mark.parametrize(
    ("schema", "columns"),
    [
        (
            schemas.PARTS,
            "part url size version kind identity min_side state store store_part store_content read_url read_version",
        ),
        (schemas.METADATA, "image_path shard part index offset size sha256 sample_sha256 width height members"),
        (schemas.SELECTED, "id shard key score centroid round"),
        (schemas.ROUNDS, "round mean_score ratio chosen"),
        (schemas.QUARANTINE, "shard key offset station reason detail"),
    ],
)
def test_columns_that_others_rely_on(schema, columns):
    assert schema.names == columns.split()


@pytest.mark.parametrize("where", ["local", "s3"])
def test_columns_and_rows_give_the_same_file(where, tmp_path, request):
    root = str(tmp_path) if where == "local" else request.getfixturevalue("s3_bucket")
    one, two = storage.join(root, "one.parquet"), storage.join(root, "two.parquet")
    parquet.write_table(one, schemas.SELECTED, SELECTED)
    rows = parquet.read_table(one, schemas.SELECTED).to_pylist()
    assert rows[1] == {
        "id": 1 << 40,
        "shard": "é.tar",
        "key": "日本",
        "score": 0.25,
        "centroid": 2,
        "round": 0,
    }
    parquet.write_table(two, schemas.SELECTED, rows)
    assert storage.read_bytes(one) == storage.read_bytes(two)


def test_some_columns_nested_ones_included(tmp_path):
    url = str(tmp_path / "m.parquet")
    members = [{"ext": "jpg", "offset": 512, "size": 3}]
    parquet.write_table(
        url, schemas.METADATA, [{"image_path": "a", "members": members}, {"image_path": "b", "members": []}]
    )
    table = parquet.read_table(url, schemas.METADATA, ["members", "image_path"])
    assert table.column_names == ["image_path", "members"] or table.column_names == ["members", "image_path"]
    assert table["members"].to_pylist() == [members, []]
    assert parquet.read_table(url, schemas.METADATA)["sha256"].to_pylist() == [None, None]


def test_a_missing_column_is_no_silent_null(tmp_path):
    with pytest.raises(KeyError):
        parquet.write_table(str(tmp_path / "x"), schemas.SELECTED, {"id": [1]})
    assert storage.list_tree(str(tmp_path)) == []


def test_values_of_another_type_are_refused(tmp_path):
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        parquet.write_table(str(tmp_path / "x"), schemas.SELECTED, SELECTED | {"centroid": ["one", "two"]})
    assert storage.list_tree(str(tmp_path)) == []


def test_another_kind_of_file_is_refused(tmp_path):
    url = str(tmp_path / "x.parquet")
    parquet.write_table(url, schemas.SELECTED, SELECTED)
    with pytest.raises(UnusableInput, match="not a 'parts' file"):
        parquet.read_table(url, schemas.PARTS)
    pq.write_table(pa.table({"id": [1]}), url)
    with pytest.raises(UnusableInput, match="not a 'selected' file"):
        parquet.read_table(url, schemas.SELECTED)


def test_an_unknown_version_is_refused(tmp_path):
    url = str(tmp_path / "x.parquet")
    labels = schemas.SELECTED.metadata | {b"curator.version": b"99"}
    pq.write_table(schemas.SELECTED.with_metadata(labels).empty_table(), url)
    with pytest.raises(UnusableInput, match="format version 99, this curator reads 3"):
        parquet.read_table(url, schemas.SELECTED)


@pytest.mark.parametrize("data", [b"", b"not parquet at all"])
def test_what_is_no_parquet_is_refused(data, tmp_path):
    url = str(tmp_path / "x.parquet")
    storage.write_bytes(url, data)
    with pytest.raises(UnusableInput, match="not a parquet file"):
        parquet.read_table(url, schemas.SELECTED)


@pytest.mark.parametrize("where", ["local", "s3"])
def test_a_missing_file_is_a_missing_file(where, tmp_path, request):
    root = str(tmp_path) if where == "local" else request.getfixturevalue("s3_bucket")
    with pytest.raises(FileNotFoundError):
        parquet.read_table(storage.join(root, "none.parquet"), schemas.SELECTED)
