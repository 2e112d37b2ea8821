"""Targets as they are given: `URLS`, or `NAME=URLS` for several."""

from __future__ import annotations

import re
from collections.abc import Sequence

from curator.errors import InputError

__all__ = ["by_name"]

TARGET_NAME = re.compile(r"([A-Za-z0-9_-]+)=")


def by_name(given: Sequence[str]) -> dict[str, list[str]]:
    """Name -> URLS of each target, in the order in which they were given; the name of an only target is empty.

    Raises:
        InputError: targets with and without a name.
    """
    targets: dict[str, list[str]] = {}
    for text in given:
        match = TARGET_NAME.match(text)
        name, urls = (match[1], text[match.end() :]) if match else ("", text)
        targets.setdefault(name, []).append(urls)
    if "" in targets and len(targets) > 1:
        raise InputError(
            "of several targets each needs a name, NAME=URLS (write a path that looks like that as ./NAME=...)",
            field="target",
            value=targets[""][0],
        )
    return targets
