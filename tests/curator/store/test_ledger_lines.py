from __future__ import annotations

import pickle
import tracemalloc

import pytest

from curator.errors import Reason
from curator.store import ledger_lines
from curator.store.done_mark import DoneMark
from curator.store.ledger_lines import Ledger
from curator.types import LedgerLine


def line(number: int, offset: int | None = None) -> LedgerLine:
    place = number if offset is None else offset
    return LedgerLine("/a.tar", f"{number:09d}", place << 10, "decode", Reason.DECODE_ERROR, f"cannot read {number}")


@pytest.mark.parametrize("count", [0, 3, 4, 5, 11])
def test_a_ledger_is_a_sequence(count, monkeypatch):
    monkeypatch.setattr(ledger_lines, "BLOCK", 4)
    lines = [line(number) for number in range(count)]
    ledger = Ledger(lines)
    assert ledger == lines and list(ledger) == lines and len(ledger) == count
    assert [ledger[place] for place in range(-count, count)] == [*lines, *lines]
    assert ledger[1:3] == lines[1:3]
    assert pickle.loads(pickle.dumps(ledger)) == ledger
    assert ledger != [*lines, line(99)]
    with pytest.raises(IndexError):
        ledger[count]


def test_lines_are_ordered_by_offset_then_key(monkeypatch):
    monkeypatch.setattr(ledger_lines, "BLOCK", 4)
    lines = [line(number, offset) for number, offset in ((3, 7), (2, 7), (9, 0), (4, 2), (4, 2), (1, 12), (0, 3))]
    assert Ledger(lines).ordered() == sorted(lines, key=lambda each: (each.offset, each.key))
    assert (whole := Ledger(sorted(lines, key=lambda each: (each.offset, each.key)))).ordered() is whole


@pytest.mark.parametrize("count", [0, 1, 9])
def test_a_done_mark_and_its_ledger_are_read_as_written(count, monkeypatch):
    monkeypatch.setattr(ledger_lines, "BLOCK", 4)
    lines = [line(number) for number in range(count)]
    # What stands in the lines may look like what ends them.
    lines.append(LedgerLine("/a.tar", '"ledger": [', 0, "read", Reason.DECODE_ERROR, ']], "version": 1}'))
    mark = DoneMark(count + 1, 0, 5, {"total": 1.5}, lines)
    assert DoneMark.from_json(mark.to_json(), "url") == mark


def test_a_line_takes_a_few_bytes():
    def held(count: int) -> int:
        tracemalloc.start()
        ledger = Ledger(line(number) for number in range(count))
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert len(ledger) == count
        return size

    assert (held(40 * ledger_lines.BLOCK) - held(20 * ledger_lines.BLOCK)) / (20 * ledger_lines.BLOCK) < 40
