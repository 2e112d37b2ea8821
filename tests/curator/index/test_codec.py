import numpy as np
import pytest

from curator.errors import UnusableInput
from curator.index import Codec, train_codec


@pytest.mark.parametrize("kind", ["SQ8", "PQ12", "PQ2", "PQ1"])
def test_no_row_is_further_from_its_code_than_the_code_says(by_kind, kind):
    made = by_kind(kind)
    rng = np.random.default_rng(1)
    rows = np.concatenate([dict(made.pool.parts())[1], rng.normal(size=(500, 24)).astype(np.float16)])
    rows[7] = 0
    lists = made.quantiser.assign(rows)
    codes = made.contents.codec.encode(rows, lists)
    points, angles = made.contents.codec.decode(codes, lists)
    assert codes.shape == (len(rows), made.contents.codec.code_bytes) and codes.dtype == np.uint8
    wide, points = rows.astype(np.float64), points.astype(np.float64)
    with np.errstate(invalid="ignore"):
        cosines = np.vecdot(wide, points) / np.linalg.norm(wide, axis=1) / np.linalg.norm(points, axis=1)
    assert angles[7] > 3.14 and np.isnan(cosines[7])
    cosines[7] = 1
    assert (np.arccos(np.clip(cosines, -1, 1)) <= angles).all()
    # Beyond a right angle nothing is said.
    assert ((angles < 1.58) | (angles > 3.14)).all()
    known = angles[:1000][angles[:1000] < 1.58]
    assert {"SQ8": 0.01, "PQ12": 0.15, "PQ2": 0.9, "PQ1": 1.3}[kind] > np.median(known)


def test_a_stored_codec_is_the_same(by_kind):
    made = by_kind("PQ12")
    again = Codec.from_bytes(made.contents.codec.to_bytes(), made.quantiser)
    rows = dict(made.pool.parts())[0]
    lists = made.quantiser.assign(rows)
    codes = made.contents.codec.encode(rows, lists)
    assert np.array_equal(again.encode(rows, lists), codes)
    for one, other in zip(again.decode(codes, lists), made.contents.codec.decode(codes, lists), strict=True):
        assert np.array_equal(one, other)


def test_few_rows_train_sq8_and_no_pq(made):
    sample = dict(made.pool.parts())[0][:200].astype(np.float32)
    assert train_codec("SQ8", sample, made.quantiser).code_bytes == 26
    with pytest.raises(UnusableInput, match=r"200 rows cannot train PQ12, which needs 256: give .*SQ8', or .*Flat'"):
        train_codec("PQ12", sample, made.quantiser)
