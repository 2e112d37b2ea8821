import numpy as np

from benchmarks.clusters import FEW_IMAGES, coverage
from benchmarks.groups import Group


def test_coverage_counts_classes_with_so_many_chosen_images() -> None:
    classes = np.repeat([0, 1, 2, -1], [6, 5, FEW_IMAGES - 1, 3])
    rows = np.ones((len(classes), 2), np.float16)
    group = Group("made", rows, rows, classes >= 0, classes, "made", np.arange(len(rows)))
    # Five of class 0, one of class 1; class 2 is too small to count, and the last row is of no class.
    chosen = np.array([0, 1, 2, 3, 4, 6, 11, 17])
    assert coverage(group, chosen, 1) == 1.0
    assert coverage(group, chosen, FEW_IMAGES) == 0.5
