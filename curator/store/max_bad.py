"""Whether too many of a set's samples are bad."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from curator.errors import Advice, Change, TooManyBad
from curator.types import LedgerLine

__all__ = ["check_max_bad"]

# Where no share is given: this one, but so many samples at least, since 3 broken of 144 photos are an ordinary folder,
# and one in so many at most, since a set of which more is broken is not what it was taken for.
SHARE = 0.01
AT_LEAST = 10
AT_MOST_ONE_IN = 3
# So many are told in the message, and so many letters of their details.
EXAMPLES = 5
DETAILS = 500


def check_max_bad(
    bad: int, seen: int, max_bad: float | None, what: str, lines: Iterable[LedgerLine], see: str = "quarantine.parquet"
) -> None:
    """Raise an error if too many of the samples of a set are bad.

    Args:
        bad: how many are, with the samples expected in shards that could not be read.
        seen: how many there are, with these.
        max_bad: the share of them that may be bad, between 0 and 1. None: 1%, but at least 10 samples, and at most a
            third of the set.
        what: the set, for the message.
        lines: its ledger, of which the first five bad ones are told.
        see: where the whole ledger is.

    Raises:
        TooManyBad: with the figures, examples and where to look.

    >>> check_max_bad(3, 144, None, "target", [])
    >>> check_max_bad(3, 144, 0.01, "target", [])
    Traceback (most recent call last):
    curator.errors.TooManyBad: 3 of 144 samples of the target are bad (2.08%), more than 1.00%: see quarantine.parquet \
for each, or give a higher max_bad
    """
    default = min(max(SHARE * seen, AT_LEAST), seen / AT_MOST_ONE_IN)
    if bad <= (default if max_bad is None else max_bad * seen):
        return
    limit = f"{max_bad:.2%}" if max_bad is not None else f"{int(default):,} ({_origin(seen)})"
    told = _in_words(islice((line for line in lines if line.reason.is_damage), EXAMPLES))
    examples = f"; the first: {told}" if told else ""
    advice: tuple[Advice, ...] = (f"see {see} for each", Change("max_bad", "higher"))
    message = f"{bad:,} of {seen:,} samples of the {what} are bad ({bad / seen:.2%}), more than {limit}{examples}"
    raise TooManyBad(message, advice=advice)


def _origin(seen: int) -> str:
    if seen < AT_LEAST * AT_MOST_ONE_IN:
        return "a third of them"
    return f"{SHARE:.0%} of them" if SHARE * seen > AT_LEAST else "as many as are allowed in a set of up to 1,000"


def _in_words(lines: Iterable[LedgerLine]) -> str:
    """What happened to several alike is said once, so that there is room for what to do."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for line in lines:
        alike.setdefault((line.shard, line.reason, " ".join(line.detail.split())), []).append(line.key)
    most = DETAILS // max(len(alike), 1)
    texts = []
    for (shard, reason, detail), keys in alike.items():
        name = f"{', '.join(keys)} in {shard}" if any(keys) else shard
        cut = detail if len(detail) <= most else f"{detail[:most]}..."
        texts.append(f"{name} ({reason}{', ' if cut else ''}{cut})")
    return "; ".join(texts)
