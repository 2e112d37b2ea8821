import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

# Spawned workers take over sys.path, so they find `stages_for_tests`, which
# pytest's import mode would hide from them.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    def give_up(number: int, frame: FrameType | None) -> None:
        pytest.fail("the test hangs")  # not an OSError, which the code under test may well catch

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(180)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
