import numpy as np

from curator.selection.passing import DENIED, Objection, deny, first_objection


def test_deny_takes_sets_and_arrays():
    for listed in ({3, 1 << 32}, np.array([3, 1 << 32])):
        judge = deny(listed, "deny.txt")
        assert judge(1 << 32) == Objection(DENIED, "deny.txt")
        assert judge(4) is None


def test_the_first_objection_ends_the_asking():
    asked = []

    def remember(row):
        asked.append(row)

    judge = first_objection(deny([1]), remember)
    assert judge(1) == Objection(DENIED)
    assert judge(2) is None
    assert asked == [2]
    assert first_objection()(1) is None
