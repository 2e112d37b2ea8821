from __future__ import annotations

import numpy as np
from sklearn.decomposition import PCA

from curator.types import unit_rows
from curator_pipelines.jobs.report.plane import place


def test_by_pca_as_scikit_learn_has_it() -> None:
    rows = unit_rows(np.random.default_rng(0).standard_normal((50, 12)) * np.arange(1, 13))[0]
    placed, method = place(rows, seed=0)
    assert method == "PCA"
    slow = PCA(2, svd_solver="full").fit_transform(rows)
    np.testing.assert_allclose(np.abs(placed), np.abs(slow), atol=1e-10)
    assert np.array_equal(placed, place(rows, seed=0)[0])


def test_one_point_and_one_dimension() -> None:
    assert place(np.ones((1, 5)), 0)[0].shape == (1, 2)
    assert place(np.ones((4, 1)), 0)[0].shape == (4, 2)
