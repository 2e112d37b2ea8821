"""In which order the sources of a set are embedded, and that it changes nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobs_for_tests import CountsTasks, assert_same_bytes, table


def test_the_largest_shard_is_the_first_and_the_parts_keep_the_order_given(
    counted: Callable[..., CountsTasks], settings: dict[str, Any], reference: Path, tmp_path: Path
) -> None:
    out = str(tmp_path / "run")
    given = [Path(url).name for url in settings["pool"]]
    by_size = sorted(given, key=lambda name: -(Path(settings["pool"][0]).parent / name).stat().st_size)
    assert by_size[0] != given[0]

    assert counted(out=out, **settings).embedded == ["target", *by_size]
    assert [row["url"].rpartition("/")[2] for row in table(out, "pool", "parts.parquet")] == given
    assert_same_bytes(out, str(reference))
