"""Codes: a row of the index in few bytes, and how far from the row they may lead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.errors import UnusableInput, Use
from curator.index.quantiser import CODEC_ROWS, Factory, Quantiser, import_faiss, unit_rows
from curator.search import Floats

__all__ = ["Codec", "train_codec"]

# The words of each of a product quantiser's codebooks.
PQ_WORDS = 256
ITERATIONS = 10
ANGLE_BYTES = 2
# Angles are computed in float32 and must err on the safe side.
ROUNDING = 1e-5


@dataclass(frozen=True, slots=True)
class Codec:
    """Rows to codes and back: faiss codes the difference between a row and the centre of its list.

    A code ends with the angle between the row and what the rest of the code decodes to. So codes alone give bounds
    that hold for every row, not guesses.

    Attributes:
        quantiser: assigns rows to lists.
        faiss: a trained faiss index with `sa_encode` and `sa_decode`.
    """

    quantiser: Quantiser
    faiss: Any

    @property
    def code_bytes(self) -> int:
        """The bytes of a row's code, the angle included."""
        return int(self.faiss.sa_code_size()) + ANGLE_BYTES

    def encode(self, rows: Floats, lists: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """The codes of finite rows.

        Args:
            rows: float16 or float32 (n, d).
            lists: integers (n,), the lists they are in.

        Returns:
            uint8 (n, code_bytes).
        """
        unit = unit_rows(rows)
        codes = self.faiss.sa_encode(np.ascontiguousarray(unit - self.quantiser.centroids[lists]))
        points = self._points(codes, lists)
        distance = np.linalg.norm(unit - points, axis=1)
        angles = 2 * np.arcsin(np.minimum(distance / 2, 1)) + ROUNDING
        # Nothing is known of a row or a point without a direction, or of a point that leads elsewhere.
        angles[~(unit.any(axis=1) & points.any(axis=1)) | (angles > np.pi / 2)] = np.pi
        stored = angles.astype("<f2")
        stored[stored < angles] = np.nextafter(stored[stored < angles], np.float16(np.inf))
        return np.concatenate([codes, stored[:, None].view(np.uint8)], axis=1)

    def decode(self, codes: NDArray[np.uint8], lists: NDArray[np.integer[Any]]) -> tuple[Floats, Floats]:
        """The points that codes stand for.

        Args:
            codes: uint8 (n, code_bytes).
            lists: integers (n,), the lists the rows are in.

        Returns:
            float32 (n, d), unit rows; float32 (n,), the largest angle between each and the row that was coded:
            at most pi / 2, or pi where nothing is known.
        """
        angles = np.ascontiguousarray(codes[:, -ANGLE_BYTES:]).view("<f2")[:, 0].astype(np.float32)
        return self._points(np.ascontiguousarray(codes[:, :-ANGLE_BYTES]), lists), angles

    def _points(self, codes: NDArray[np.uint8], lists: NDArray[np.integer[Any]]) -> Floats:
        return unit_rows(self.faiss.sa_decode(codes) + self.quantiser.centroids[lists])

    def to_bytes(self) -> bytes:
        """The stored form, without the quantiser."""
        return bytes(import_faiss().serialize_index(self.faiss).tobytes())

    @classmethod
    def from_bytes(cls, data: bytes, quantiser: Quantiser) -> Codec:
        """The codec of a stored form.

        Raises:
            UnusableInput: faiss is not installed.
        """
        return cls(quantiser, import_faiss().deserialize_index(np.frombuffer(data, np.uint8)))


def train_codec(name: str, sample: NDArray[np.float32], quantiser: Quantiser) -> Codec:
    """A codec, trained on rows of the pool.

    Args:
        name: `SQ8`, or `PQm` with an m that divides d.
        sample: float32 (n, d), unit rows.
        quantiser: assigns rows to lists.

    Raises:
        UnusableInput: faiss is missing, or the sample is too small for a product quantiser.
    """
    faiss = import_faiss()
    index = faiss.index_factory(sample.shape[1], name)
    sample = sample[:: max(1, len(sample) // CODEC_ROWS)]
    if name.startswith("PQ"):
        if len(sample) < PQ_WORDS:
            lists = len(quantiser.centroids)
            raise UnusableInput(
                f"{len(sample):,} rows cannot train {name}, which needs {PQ_WORDS}",
                advice=(Use("factory", str(Factory(lists, "SQ8"))), Use("factory", str(Factory(lists)))),
            )
        # It orders the words for a search that is not done here, and takes nine tenths of the time.
        index.do_polysemous_training = False
        index.pq.cp.niter = ITERATIONS
        index.pq.cp.min_points_per_centroid = 1
        index.pq.cp.max_points_per_centroid = CODEC_ROWS // PQ_WORDS
    index.train(np.ascontiguousarray(sample - quantiser.centroids[quantiser.assign(sample)]))
    return Codec(quantiser, index)
