import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator.errors import UnusableInput
from curator.io import parquet, schemas


def columns(rows):
    keys = [f"key-{row}" for row in range(rows)]
    return {
        "shard": pa.repeat(pa.scalar("/a.tar", pa.large_string()), rows),
        "key": pa.chunked_array([keys[: rows // 2], keys[rows // 2 :]], pa.large_string()),
        "id": np.arange(rows),
        "reason": ["copy"] * rows,
        "match": pa.array(np.arange(rows), mask=np.arange(rows) % 2 == 0),
        "match_shard": ["/b.tar"] * rows,
        "match_key": keys,
        "similarity": [None] * rows,
    }


@pytest.mark.parametrize("rows", [0, 1, 4, 9])
def test_columns_of_any_kind_are_written_in_row_groups(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROW_GROUP", 4)
    url = str(tmp_path / "table.parquet")
    parquet.write_table(url, schemas.DUPLICATES, columns(rows))
    found = parquet.read_table(url, schemas.DUPLICATES)
    assert found.schema.equals(schemas.DUPLICATES)
    assert found["key"].to_pylist() == [f"key-{row}" for row in range(rows)]
    assert found["match"].to_pylist() == [row if row % 2 else None for row in range(rows)]
    footer = parquet.read_footer(url, schemas.DUPLICATES)
    groups = [
        parquet.read_group(url, footer, number, ["id"])["id"].to_pylist() for number in range(footer.num_row_groups)
    ]
    assert groups == [list(range(start, min(start + 4, rows))) for start in range(0, max(rows, 1), 4)]


def test_few_rows_give_the_bytes_that_pyarrow_gives(tmp_path):
    parquet.write_table(str(tmp_path / "ours"), schemas.DUPLICATES, columns(5))
    pq.write_table(
        parquet.read_table(str(tmp_path / "ours"), schemas.DUPLICATES), tmp_path / "theirs", compression="zstd"
    )
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_row_groups_of_a_store_and_of_no_parquet_file(tmp_path, s3_bucket):
    parquet.write_table(f"{s3_bucket}/table.parquet", schemas.DUPLICATES, columns(5))
    footer = parquet.read_footer(f"{s3_bucket}/table.parquet", schemas.DUPLICATES)
    assert parquet.read_group(f"{s3_bucket}/table.parquet", footer, 0, ["id"])["id"].to_pylist() == [0, 1, 2, 3, 4]
    (tmp_path / "other").write_bytes(b"nothing of the kind")
    with pytest.raises(UnusableInput, match="not a parquet file that curator wrote"):
        parquet.read_footer(str(tmp_path / "other"), schemas.DUPLICATES)
