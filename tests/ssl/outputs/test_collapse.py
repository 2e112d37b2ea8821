from __future__ import annotations

import pytest
from training_for_tests import KeptReports

from curator_ssl.outputs.collapse import COLLAPSED, CollapseDetector


@pytest.mark.parametrize(("steps", "patience"), [(8, 20), (400, 100), (100_000, 200)])
def test_collapse_is_told_once_when_it_lasts(steps: int, patience: int, reports: KeptReports) -> None:
    detector = CollapseDetector(reports.warn, steps)
    for step in range(patience - 1):
        detector.check(step, COLLAPSED / 2)
    detector.check(patience - 1, 2 * COLLAPSED)
    for step in range(patience, 2 * patience - 1):
        detector.check(step, COLLAPSED / 2)
    assert reports.warnings == []

    for step in range(2 * patience - 1, 4 * patience):
        detector.check(step, COLLAPSED / 2)

    (warning,) = reports.warnings
    assert warning.startswith(f"step {2 * patience - 1}: the embeddings have collapsed (spread 0.025")
