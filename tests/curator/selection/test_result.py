import math

import curator.selection
from curator.selection.not_chosen import Skipped, SkippedRow
from curator.selection.result import Rounds, StopReason, ratio_to


def test_the_names_of_stop_reasons_are_a_format():
    assert [str(reason) for reason in StopReason] == ["budget", "stop_rule", "pool_exhausted", "selector"]


def test_columns_have_their_types_even_when_empty():
    for rows in ([], [SkippedRow(1 << 40, 0.5, 3, 1, "denied", "")]):
        gone = Skipped.build(rows)
        types = [str(column.dtype) for column in (gone.ids, gone.scores, gone.anchors, gone.rounds)]
        assert types == ["int64", "float32", "int32", "int32"]
        assert len(gone) == len(rows)
    table = Rounds.build([], [], [])
    types = [str(column.dtype) for column in (table.round, table.mean_score, table.ratio, table.chosen)]
    assert types == ["int32", "float64", "float64", "int64"]


def test_rounds_are_numbered_from_one():
    assert Rounds.build([0.5, 0.25], [1.0, 0.5], [2, 2]).round.tolist() == [1, 2]


def test_a_ratio_needs_a_positive_reference():
    assert ratio_to(1.0, 2.0) == 0.5
    assert all(math.isnan(ratio_to(1.0, reference)) for reference in (0.0, -2.0, math.nan))


def test_public_names_exist():
    names = curator.selection.__all__
    assert sorted(names) == sorted(set(names))
    assert all(hasattr(curator.selection, name) for name in names)
