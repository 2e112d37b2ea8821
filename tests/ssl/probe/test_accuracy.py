import pytest

from curator_ssl.probe.accuracy import Accuracy


def test_intervals_of_textbooks():
    """Wilson: 10 of 20 is .299 to .701. Student: t(.975, 2) = 4.303, so .6 with deviation .1 is +- .248."""
    accuracy = Accuracy([0.5, 0.6, 0.7], 20)
    assert accuracy.over_seeds == pytest.approx((0.6 - 0.248, 0.6 + 0.248), abs=1e-3)
    assert Accuracy([0.5], 20).over_tests == pytest.approx((0.299, 0.701), abs=1e-3)


def test_one_seed_has_no_interval():
    accuracy = Accuracy([0.5], 20)
    assert accuracy.over_seeds is None
    assert "seeds" not in accuracy.to_text()
    assert accuracy.to_json()["interval_over_seeds"] is None
