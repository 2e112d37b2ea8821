"""Brace ranges and lists, as the shell and braceexpand write them: {000000..000041}, {0..10..5}, {a..c}, {x,y}."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import prod

from curator.errors import InputError

__all__ = ["count_braces", "expand_braces"]

# Without nesting.
BRACE = re.compile(r"\{([^{}]*)\}")
NUMBERS = re.compile(r"(\d+)\.\.(\d+)(?:\.\.(\d+))?")
LETTERS = re.compile(r"([a-z])\.\.([a-z])(?:\.\.(\d+))?|([A-Z])\.\.([A-Z])(?:\.\.(\d+))?")
ADVICE = "write a range as {000000..000041}"


def count_braces(pattern: str) -> int:
    """How many texts a pattern stands for, without making them.

    >>> count_braces("{0..999999999}/{a,b}.tar")
    2000000000

    Raises:
        InputError: as `expand_braces`.
    """
    _check_balance(pattern)
    return prod(len(_choices(inside, pattern)) for inside in BRACE.findall(pattern))


def expand_braces(pattern: str) -> Iterator[str]:
    """Every text that a pattern stands for, the last brace changing fastest.

    >>> list(expand_braces("{a..c}{0..10..5}"))
    ['a0', 'a5', 'a10', 'b0', 'b5', 'b10', 'c0', 'c5', 'c10']

    Raises:
        InputError: a brace is empty or unbalanced; the message shows the pattern.
    """
    _check_balance(pattern)
    yield from _expand(pattern, pattern)


def _expand(text: str, pattern: str) -> Iterator[str]:
    match = BRACE.search(text)
    if match is None:
        yield text
        return
    choices, before, after = _choices(match[1], pattern), text[: match.start()], text[match.end() :]
    for choice in choices:
        # What stands before holds no brace any more, and a choice never does.
        for rest in _expand(after, pattern):
            yield before + choice + rest


def _check_balance(pattern: str) -> None:
    rest = BRACE.sub("", pattern)
    if "{" in rest or "}" in rest:
        raise InputError(f"unbalanced brace in '{pattern}'", advice=ADVICE)


def _choices(inside: str, pattern: str) -> Sequence[str]:
    if match := NUMBERS.fullmatch(inside):
        first, last = match[1], match[2]
        padded = first.startswith("0") or len(first) == len(last)
        return _Range(_span(int(first), int(last), match[3], inside, pattern), len(first) if padded else 0)
    if match := LETTERS.fullmatch(inside):
        first, last, step = (one or other for one, other in zip(match.groups()[:3], match.groups()[3:], strict=True))
        return [chr(number) for number in _span(ord(first), ord(last), step, inside, pattern)]
    if "," not in inside or not inside.replace(",", ""):
        raise InputError(f"the range {{{inside}}} in '{pattern}' is empty", advice=ADVICE)
    return inside.split(",")


def _span(first: int, last: int, step: str | None, inside: str, pattern: str) -> range:
    if first > last:
        begin, end = inside.split("..")[:2]
        raise InputError(f"the range {{{inside}}} in '{pattern}' is empty: {begin} is above {end}", advice=ADVICE)
    if step is not None and not int(step):
        raise InputError(f"the range {{{inside}}} in '{pattern}' has a step of 0", advice="write {0..10..5}")
    return range(first, last + 1, int(step or 1))


class _Range(Sequence[str]):
    """The numbers of a range as text, made one at a time: a slip of the keyboard may name a billion."""

    def __init__(self, numbers: range, width: int) -> None:
        self._numbers = numbers
        self._width = width

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, place: int) -> str:  # type: ignore[override]
        return str(self._numbers[place]).zfill(self._width)
