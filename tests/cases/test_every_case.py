"""What people hand to a tool like this goes the whole way, through the command; which tests show it.

A case is a kind of input that public reports of this trade tell of. The tests of this folder make small inputs of that
kind and look for the right answer; those named beside them look closer, or at more of the kind.

| case | input | tests here | closer to the code |
|---|---|---|---|
| 01 | dots in keys | test_keys.py | curator/sources/test_tar_formats.py |
| 02 | an unsorted tar | test_keys.py | curator/sources/test_tar_formats.py, curator/store/test_max_bad.py |
| 03 | names that begin with `./` | test_keys.py | curator/sources/test_tar_formats.py |
| 04 | hard links | test_tars.py | curator/sources/test_tar_formats.py |
| 05 | git-lfs pointers and pages called .tar | test_shards_given.py | curator/sources/test_find.py |
| 06 | DINOv2's own training checkpoints | test_checkpoints.py | curator/encoders/test_adapt_tensors.py |
| 07 | objects beside the weights | test_checkpoints.py | curator/encoders/test_weights.py |
| 08 | TorchScript | test_checkpoints.py | curator/encoders/test_weights.py |
| 09 | prefixes of wrappers | test_checkpoints.py | curator/encoders/test_checkpoint.py |
| 10 | layouts of embeddings | test_embeddings.py | pipelines/cli/test_errors.py, pipelines/jobs/test_ready.py |
| 11 | a public bucket | test_stores.py | pipelines/cli/test_errors.py |
| 11b | a bucket whose requesters pay | test_stores.py | curator/io/test_faults.py |
| 12 | phone photos | test_images.py | curator/sources/test_folder.py, pipelines/jobs/queries/test_inspect.py |
| 14 | sparse members | test_tars.py | curator/sources/test_tar_formats.py |
| 15 | odd images | test_images.py | curator/images/test_decode.py, curator/images/test_odd_images.py |
| 16 | PNGs with bad profiles | test_images.py | curator/images/test_odd_images.py |
| 17 | deny-lists in any spelling | test_keys.py | curator/store/test_deny_list.py |
| 18 | very small and odd training sets | test_training.py | pipelines/jobs/train/test_warmup.py |
| 19 | shard URLs of other tools | test_shards_given.py | curator/io/test_urls.py |
| 20 | labels | test_labels.py | ssl/probe/test_labels.py |
| 21 | symbolic links | test_shards_given.py | curator/sources/test_find.py, curator/sources/test_folder.py |
"""

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROWS = [row.strip("|").split("|") for row in (__doc__ or "").splitlines() if re.match(r"\| \d", row)]


def test_there_is_a_row_for_every_case() -> None:
    numbers = [f"{number:02d}" for number in range(1, 22) if number != 13]
    assert [row[0].strip() for row in ROWS] == sorted([*numbers, "11b"])


@pytest.mark.parametrize("row", ROWS, ids=[row[0].strip() for row in ROWS])
def test_every_case_has_its_tests(row: list[str]) -> None:
    case, _, here, closer = (cell.strip() for cell in row)
    assert re.search(rf"^def test_{case}_", (HERE / here).read_text(), re.MULTILINE)
    assert all((HERE.parent / name).is_file() for name in closer.split(", "))
