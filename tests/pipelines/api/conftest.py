import sys
from pathlib import Path

import pytest

# What the tests of the jobs share; pytest's import mode would hide it.
sys.path.insert(0, str(Path(__file__).parents[1] / "jobs"))

from jobs_for_tests import write_data


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only: see `write_data`."""
    folder = tmp_path_factory.mktemp("data")
    write_data(folder)
    return folder
