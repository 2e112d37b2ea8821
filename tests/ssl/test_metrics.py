from __future__ import annotations

import pytest
from training_for_tests import Listener

from curator_ssl.metrics import COLLAPSED, watch_spread


@pytest.mark.parametrize(("steps", "patience"), [(8, 20), (400, 100), (100_000, 200)])
def test_collapse_is_told_once_when_it_lasts(steps: int, patience: int, listener: Listener) -> None:
    look = watch_spread(listener.warn, steps)
    for step in range(patience - 1):
        look(step, COLLAPSED / 2)
    look(patience - 1, 2 * COLLAPSED)
    for step in range(patience, 2 * patience - 1):
        look(step, COLLAPSED / 2)
    assert listener.warnings == []

    for step in range(2 * patience - 1, 4 * patience):
        look(step, COLLAPSED / 2)

    (warning,) = listener.warnings
    assert warning.startswith(f"step {2 * patience - 1}: the embeddings have collapsed (spread 0.025")
