from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
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


@pytest.mark.slow
@pytest.mark.parametrize(("package", "method"), [("umap", "UMAP"), ("pacmap", "PaCMAP")])
def test_neighbour_methods_keep_clusters_apart(
    package: str, method: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(package)
    for other in {"umap", "pacmap"} - {package}:
        monkeypatch.setitem(sys.modules, other, None)
    random = np.random.default_rng(0)
    rows = np.repeat(np.eye(8)[:2], 40, axis=0) + 0.02 * random.standard_normal((80, 8))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        placed, used = place(rows, seed=0)
        again, _ = place(rows, seed=0)

    assert used == method
    assert np.array_equal(placed, again)
    first, second = placed[:40], placed[40:]
    between = np.linalg.norm(first.mean(axis=0) - second.mean(axis=0))
    assert between > 2 * max(first.std(axis=0).max(), second.std(axis=0).max())
    assert capfd.readouterr() == ("", "")
