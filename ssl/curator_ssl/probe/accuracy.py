"""An accuracy and how sure it is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Accuracy"]

# Of the normal distribution, for 95%.
_Z = 1.959964


@dataclass(frozen=True)
class Accuracy:
    """Share of test samples that were classified rightly.

    Two things move it, and both are told: the seed, and which images happen to be in the test set.

    Attributes:
        seeds: the accuracy with each seed; one where no chance is involved.
        tested: test samples.

    >>> round(Accuracy([0.5, 0.6], 100).mean, 2)
    0.55
    """

    seeds: Sequence[float]
    tested: int

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.fmean(self.seeds)

    @property
    def over_seeds(self) -> tuple[float, float] | None:
        """95% interval of the mean over seeds (Student's t); None with one seed."""
        from scipy.stats import t

        count = len(self.seeds)
        if count < 2:
            return None
        half = float(t.ppf(0.975, count - 1)) * statistics.stdev(self.seeds) / math.sqrt(count)
        return self.mean - half, self.mean + half

    @property
    def over_tests(self) -> tuple[float, float]:
        """95% interval over test sets of this size (Wilson's score interval)."""
        n, share = self.tested, self.mean
        middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
        return middle - half, middle + half

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "accuracy": self.mean,
            "seeds": list(self.seeds),
            "interval_over_seeds": self.over_seeds,
            "interval_over_test_sets": self.over_tests,
        }

    def to_text(self) -> str:
        """For a person."""
        low, high = self.over_tests
        words = [f"{self.mean:.3f}  ({low:.3f} to {high:.3f} over test sets"]
        if interval := self.over_seeds:
            words.append(f", {interval[0]:.3f} to {interval[1]:.3f} over {len(self.seeds)} seeds")
        return "".join(words) + ")"
