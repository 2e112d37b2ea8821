"""The half-whitened space of a pool: its rows without what they all share, and with weak directions made stronger.

    pool sample -> mean, principal directions, deviations (stored, float32)
    a row -> unit length -> minus the mean -> coordinate along each direction / sqrt(deviation) -> unit length

Dividing by the whole deviation would whiten: it raises noise as high as content. By its root, strong directions keep
some of their lead. The space is a function of its three stored arrays; a coordinate is summed in float64 in index order
and rounded to a multiple of 2^-24. So rows have the same coordinates on any machine, although eigenvectors do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from curator.search import Floats, row_norms, sum_in_order

__all__ = ["HalfWhitened"]

MOST_DIRECTIONS = 256
# Directions in which rows vary less than this share of the first one's deviation hold rounding, not content.
LEAST_DEVIATION = 1e-6
# A sample whose first deviation is no larger than this is one row many times over: it has no directions.
NO_SPREAD = 1e-6
# Coordinates are multiples of its inverse. Float32 holds them all, and unlike float32's own grid this one is no finer
# near zero, so that sums in any order nearly always agree on the nearest one.
GRID = 2.0**24
# Rows at once: their float64 products stay in the processor's cache.
CHUNK = 256
# Dimensions that float32 adds up at once: longer sums have a larger error.
SUMMED = 128
# No two similarities differ by more.
UNKNOWN = 4.0


@dataclass(frozen=True)
class HalfWhitened:
    """A space for the rows of one pool.

    Attributes:
        mean: float32 (d,), of the sample's unit rows.
        directions: float32 (m, d), unit rows, by falling deviation; m is 0 where the sample does not vary.
        deviations: float32 (m,), standard deviation of the sample along each.
    """

    mean: NDArray[np.float32]
    directions: NDArray[np.float32]
    deviations: NDArray[np.float32]

    @classmethod
    def fit(cls, sample: Floats) -> HalfWhitened:
        """The space of a sample of the pool.

        Args:
            sample: float16 or float32 (n, d), finite. Rows of zero length are left out.

        Returns:
            the space, at most 256 directions. Its last bits depend on the machine's linear algebra. Cost n d^2 + d^3,
            on one thread.
        """
        # Here, since it looks at every library that is loaded.
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        unit, has_direction = _unit_in_order(sample)
        rows = unit[has_direction]
        if len(rows) == 0:
            return cls(np.zeros(sample.shape[1], np.float32), *_no_directions(sample.shape[1]))
        mean = rows.mean(axis=0)
        centred = rows - mean
        # The sums of several threads depend on their number.
        with threadpool_limits(1):
            values, vectors = np.linalg.eigh(centred.T @ centred / len(rows))
        order = np.argsort(-values, kind="stable")[:MOST_DIRECTIONS]
        deviations = np.sqrt(np.maximum(values[order], 0.0))
        kept = order[(deviations > LEAST_DEVIATION * deviations[0]) & (deviations[0] > NO_SPREAD)]
        directions = vectors.T[kept]
        # An eigenvector and its negative are both right; the largest entry, the first of several, becomes positive.
        largest = np.argmax(np.abs(directions), axis=1)
        directions *= np.where(directions[np.arange(len(kept)), largest] < 0, -1.0, 1.0)[:, None]
        deviations = np.sqrt(np.maximum(values[kept], 0.0))
        return cls(mean.astype(np.float32), directions.astype(np.float32), deviations.astype(np.float32))

    def to_array(self) -> NDArray[np.float32]:
        """As stored: float32 (2 + m, d); the mean, the deviations (zeros behind them), the directions."""
        deviations = np.zeros_like(self.mean)
        deviations[: len(self.deviations)] = self.deviations
        return np.vstack([self.mean, deviations, self.directions])

    @classmethod
    def from_array(cls, stored: NDArray[np.float32]) -> HalfWhitened:
        """From its stored form."""
        return cls(stored[0], np.ascontiguousarray(stored[2:]), stored[1, : len(stored) - 2])

    def place(self, rows: Floats) -> NDArray[np.float32]:
        """The coordinates of rows. `_in_order` defines them; most are found by float64 matrix products.

        Where everything within reach of both sums' rounding is rounded to the same multiple, so are both sums; the few
        other rows are summed in order.

        Args:
            rows: float16 or float32 (n, d), finite.

        Returns:
            float32 (n, m), unit rows; zeros for a row without a direction: one of zero length, or the mean itself.
        """
        placed = np.empty((len(rows), len(self.deviations)), np.float32)
        for start in range(0, len(rows), CHUNK):
            placed[start : start + CHUNK] = self._place(rows[start : start + CHUNK])
        return placed

    def _place(self, rows: Floats) -> NDArray[np.float32]:
        unit, has_direction = _unit_in_order(rows)
        centred = np.where(has_direction[:, None], unit - self.mean, 0.0)
        along = centred @ self._wide.T / self._roots
        # Two float64 sums of d products differ by at most 2 d 2^-53 of the lengths (Higham, as in `propose`).
        slack = 2 * (rows.shape[1] + 4) * 2.0**-53 * np.sqrt(np.vecdot(centred, centred))[:, None] * self._reach
        lengths, slacks = np.sqrt(np.vecdot(along, along)), np.sqrt(np.vecdot(slack, slack))
        sure = lengths > 8 * slacks
        inverse = 1.0 / np.where(sure, lengths, 1.0)[:, None]
        coordinates = along * inverse
        relative = slacks[:, None] * inverse + (len(self.deviations) + 8) * 2.0**-53
        slack = 2 * (slack * inverse + np.abs(coordinates) * relative)
        low, high = np.rint((coordinates - slack) * GRID), np.rint((coordinates + slack) * GRID)
        unsure = ~sure | (low != high).any(axis=1)
        low[unsure] = self._in_order(centred[unsure])
        return np.asarray(low / GRID, np.float32)

    def _in_order(self, centred: NDArray[np.float64]) -> NDArray[np.float64]:
        """What a coordinate is: the definition, on centred unit rows (n, d); in multiples of 1 / `GRID`."""
        total = np.zeros((len(centred), len(self.deviations)))
        for column, direction in zip(centred.T, self._wide.T, strict=True):
            total += column[:, None] * direction
        along = total / self._roots
        lengths = np.sqrt(sum_in_order(along * along))
        along /= np.where(lengths > 0, lengths, 1.0)[:, None]
        return np.rint(along * GRID)

    def propose(self, rows: NDArray[np.float32], norms: NDArray[np.float64]) -> tuple[NDArray[np.float32], Floats]:
        """Coordinates by float32 matrix products, and how far off they may be.

        A coordinate before the last division is z = s (D (x / |x| - mean)), s = 1 / sqrt(deviation), D a direction.
        With u = 2^-24, A = s D and o = A mean, both rounded to float32, the computed one errs by at most

            (SUMMED + d / SUMMED + 10) u (|A| + |o|) = e:

        a float32 sum of n products errs by n u of the lengths in any order (Higham, "Accuracy and Stability of
        Numerical Algorithms", 3.1), those of `SUMMED` dimensions are added one by one, |x / |x|| = 1, and rounding A,
        o, 1 / |x|, the product and the difference is in the 10. Over all coordinates that is E = sqrt(sum e^2). The
        unit vectors of two vectors that differ by E differ by at most 2 E / (the longer's length), so a row near the
        mean is less certain than others; one whose length is within 2 E says nothing.

        Args:
            rows: float32 (n, d), finite.
            norms: float64 (n,), from `row_norms`.

        Returns:
            float32 (n, m), unit rows, zeros for rows of zero length; float32 (n,), the largest distance between the
            unit row and that of exact arithmetic. Whoever multiplies them adds the error of that product, `margin`, in
            which there is room for the rounding of the unit rows and of `place`. Cost 2ndm.
        """
        inverse = 1.0 / np.where(norms > 0, norms, 1.0)
        if len(norms) and not (inverse.max() < 1e15 and inverse.min() > 1e-15):
            # Beyond these lengths float32 would lose bits to underflow or overflow.
            rows, inverse = (rows * inverse[:, None]).astype(np.float32), np.ones(len(rows))
        axes, offset, error = self._proposal
        along = np.zeros((len(rows), len(offset)), np.float32)
        for start in range(0, rows.shape[1], SUMMED):
            along += rows[:, start : start + SUMMED] @ axes[start : start + SUMMED]
        along *= inverse.astype(np.float32)[:, None]
        along -= offset
        along[norms == 0] = 0
        lengths = row_norms(along)
        along *= (1.0 / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)[:, None]
        errors = np.where(lengths > 2 * error, 2.01 * error / np.where(lengths > 0, lengths, 1.0), UNKNOWN)
        return along, np.where(norms > 0, errors, 0.0).astype(np.float32)

    @cached_property
    def _wide(self) -> NDArray[np.float64]:
        return self.directions.astype(np.float64)

    @cached_property
    def _roots(self) -> NDArray[np.float64]:
        return np.sqrt(self.deviations.astype(np.float64))

    @cached_property
    def _reach(self) -> NDArray[np.float64]:
        """Per coordinate, the longest that a row of length 1 can be along it, float64 (m,)."""
        reach: NDArray[np.float64] = row_norms(self.directions) / self._roots
        return reach

    @cached_property
    def _proposal(self) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
        """A^T, float32 (d, m); o, float32 (m,); and E: see `propose`."""
        axes = self._wide / self._roots[:, None]
        offset = axes @ self.mean.astype(np.float64)
        steps = SUMMED + len(self.mean) / SUMMED + 10
        error = steps * 2.0**-24 * np.sqrt(np.sum((self._reach + np.abs(offset)) ** 2))
        return np.ascontiguousarray(axes.T, np.float32), offset.astype(np.float32), float(error)


def _no_directions(dim: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return np.empty((0, dim), np.float32), np.empty(0, np.float32)


def _unit_in_order(rows: Floats) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Float64 unit rows (n, d), their lengths summed in index order; and bool (n,), False for rows of zero length."""
    wide = rows.astype(np.float64)
    lengths = np.sqrt(sum_in_order(wide * wide))
    has_direction = lengths > 0
    return wide / np.where(has_direction, lengths, 1.0)[:, None], has_direction
