"""Shards that have a share of every batch to themselves: `P%=URLS` among those that are given."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from curator.errors import InputError

__all__ = ["SharedUrls", "by_share"]

SHARE = re.compile(r"(\d+(?:\.\d+)?)%=")


@dataclass(frozen=True)
class SharedUrls:
    """Shards as they are given.

    Attributes:
        plain: those without a share: they fill what the others leave of a batch.
        shared: the share of every batch, above 0 and up to 1, and the URLS that it comes from.
    """

    plain: list[str]
    shared: list[tuple[float, str]]

    @property
    def shares(self) -> list[float]:
        """The shares alone."""
        return [share for share, _ in self.shared]


def by_share(given: Sequence[str]) -> SharedUrls:
    """Tell `P%=URLS` from `URLS`.

    Raises:
        InputError: a share of nothing, or shares of more than a batch.

    >>> by_share(["pool", "30%=a.tar::b.tar"])
    SharedUrls(plain=['pool'], shared=[(0.3, 'a.tar::b.tar')])
    """
    plain: list[str] = []
    shared: list[tuple[float, str]] = []
    for text in given:
        match = SHARE.match(text)
        if not match:
            plain.append(text)
            continue
        share = float(match[1]) / 100
        if not 0 < share <= 1:
            raise InputError("a share of a batch is above 0% and at most 100%", field="shards", value=text)
        shared.append((share, text[match.end() :]))
    if sum(share for share, _ in shared) > 1 + 1e-9:
        raise InputError(f"the shares are {sum(share for share, _ in shared):.0%} of a batch together", field="shards")
    return SharedUrls(plain, shared)
