import numpy as np
import pytest


@pytest.fixture
def blobs():
    """Three classes in directions that no one could confuse: train, labels, test, labels."""
    generator = np.random.default_rng(3)

    def draw(count: int):
        labels = np.arange(count) % 3
        rows = np.eye(8)[labels] + 0.1 * generator.standard_normal((count, 8))
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels

    return *draw(60), *draw(30)
