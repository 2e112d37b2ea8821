from __future__ import annotations

import sys
from pathlib import Path

import pytest

# Pytest's import mode hides files beside a conftest from it.
sys.path.insert(0, str(Path(__file__).parent))

from training_for_tests import KeptReports, picture, write_tar


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two tars of 20 and 17 samples."""
    folder = tmp_path_factory.mktemp("shards")
    for number, count in enumerate((20, 17)):
        images = {f"{index:04d}.png": picture(100 * number + index) for index in range(count)}
        write_tar(folder / f"shard-{number}.tar", images)
    return [str(folder / f"shard-{number}.tar") for number in range(2)]


@pytest.fixture
def reports() -> KeptReports:
    return KeptReports()
