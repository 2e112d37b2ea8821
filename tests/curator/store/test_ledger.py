from __future__ import annotations

from itertools import islice

from curator.store import LedgerLines
from curator.types import LedgerLine, Reason


def line(number: int) -> LedgerLine:
    return LedgerLine("a.tar", str(number), 0, "decode", Reason.DECODE_ERROR, "")


def test_whoever_reads_a_few_lines_takes_none_from_others() -> None:
    lines = LedgerLines()
    lines.extend(map(line, range(3)))
    lines.extend(map(line, range(3, 5)))
    assert [one.key for one in islice(lines, 2)] == ["0", "1"]
    lines.extend([line(5)])
    both = zip(lines, lines, strict=True)
    assert [(one.key, other.key) for one, other in both] == [(str(n), str(n)) for n in range(6)]
    assert len(lines) == 6
