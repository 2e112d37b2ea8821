"""What the codes in stored selections mean, for a person."""

from typing import Any

from curator.selection import DUPLICATE, LOOKS_OWN, NEAR_DUPLICATE, NEAR_EVALUATION, OWN_IMAGE

__all__ = ["REASONS", "STOP_REASONS", "verdict_in_words"]

STOP_REASONS = {
    "budget": "the budget was reached",
    "stop_rule": "the stop rule ended it",
    "pool_exhausted": "the pool ran out",
    "selector": "the selector ended it",
}
# Why a candidate was skipped, as the end of "12 ...".
REASONS = {
    DUPLICATE: "copies of chosen ones",
    NEAR_DUPLICATE: "nearly the same as a chosen one",
    NEAR_EVALUATION: "near to an evaluation image",
    OWN_IMAGE: "your own images",
    LOOKS_OWN: "that look the same as one of yours",
    "denied": "denied by your list",
}


def verdict_in_words(verdict: dict[str, Any] | None) -> str:
    """The verdict of a selection.json, as a clause; empty where there is none."""
    if verdict is None or verdict["share"] is None:
        return ""
    least = "at least " if verdict["bound"] == "lower" else ""
    return (
        f"for {least}{verdict['share']:.0%} of {verdict['rows']:,} target images the pool has one nearer than "
        f"{verdict['median']:.4f}, as near as they typically are to each other"
    )
