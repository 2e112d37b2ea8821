"""What the codes in stored selections mean, for a person."""

from curator.selection import DUPLICATE, LOOKS_OWN, NEAR_DUPLICATE, NEAR_EVALUATION, OWN_IMAGE

__all__ = ["REASONS", "STOP_REASONS"]

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
