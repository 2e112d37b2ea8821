"""Arrays and tables that are written some rows at a time are the files that one call would write."""

import numpy as np
import pyarrow as pa
import pytest

from curator.io import FileHash, npy, parquet, schemas


@pytest.mark.parametrize("expected", [0, 1, 7, 140_001])
@pytest.mark.parametrize("cuts", [[], [0], [1], [3, 0, 4], [70_000, 1, 70_000]])
def test_an_array(cuts, expected, tmp_path):
    rng = np.random.default_rng(0)
    blocks = [rng.normal(size=(count, 3)).astype(np.float16) for count in cuts]
    writer = npy.RowWriter(tmp_path / "blocks.npy", 3, np.float16, expected)
    for rows in blocks:
        writer.write(rows)
    writer.close()
    npy.save_array(tmp_path / "whole.npy", np.concatenate([np.empty((0, 3), np.float16), *blocks]))

    assert (tmp_path / "blocks.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert writer.file_hash() == FileHash.of(tmp_path / "blocks.npy")


def rows_of(first, count):
    index = np.arange(first, first + count, dtype=np.int32)
    columns = {field.name: pa.nulls(count, field.type) for field in schemas.METADATA}
    columns["image_path"] = [f"key-{row % 1000}" for row in index]
    columns["shard"] = pa.array(["shard"] * count, pa.string())
    columns["index"] = index
    columns["members"] = [[{"ext": "jpg", "offset": int(row), "size": 2}] * int(row % 3) for row in index]
    return {name: pa.array(values, schemas.METADATA.field(name).type) for name, values in columns.items()}


@pytest.mark.parametrize("cuts", [[], [0], [5], [3, 0, 4], [70_000, 1, 65_535, 2]])
def test_a_table(cuts, tmp_path):
    first = 0
    with parquet.BlockWriter(tmp_path / "blocks.parquet", schemas.METADATA) as writer:
        for count in cuts:
            writer.add(pa.table(rows_of(first, count), schema=schemas.METADATA))
            first += count
        writer.finish()
    parquet.save_table(tmp_path / "whole.parquet", schemas.METADATA, rows_of(0, first))

    stored = parquet.read_table(str(tmp_path / "blocks.parquet"), schemas.METADATA)
    assert stored.equals(pa.table(rows_of(0, first), schema=schemas.METADATA))
    assert (tmp_path / "blocks.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
