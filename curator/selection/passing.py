"""Rows that are passed over instead of chosen, and because of what."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

__all__ = ["DENIED", "Judge", "Objection", "deny", "first_objection"]

DENIED = "denied"


class Objection(NamedTuple):
    """Why a row must not be chosen.

    Attributes:
        reason: one word for one kind, such as `denied`; counted in reports.
        because: what in particular, such as the image it is a duplicate of; may be empty.
    """

    reason: str
    because: str = ""


Judge: TypeAlias = Callable[[int], Objection | None]
"""Asked with the id of a row at the moment it would be chosen, in order of choice, once per row. None means
the row is chosen, and a judge may remember that. Only rows of the last round may then not be taken."""


def deny(ids: Iterable[int], because: str = "") -> Judge:
    """A judge that objects to listed rows.

    Args:
        ids: their ids.
        because: where the list comes from.

    >>> judge = deny([7], because="opt-outs.txt")
    >>> judge(7), judge(8)
    (Objection(reason='denied', because='opt-outs.txt'), None)
    """
    listed = frozenset(map(int, ids))
    objection = Objection(DENIED, because)
    return lambda row: objection if row in listed else None


def first_objection(*judges: Judge) -> Judge:
    """A judge that asks others in turn, up to the first that objects.

    A judge that remembers what was chosen belongs last: only then is its None the last word.
    """

    def judge(row: int) -> Objection | None:
        return next((found for found in (ask(row) for ask in judges) if found), None)

    return judge
