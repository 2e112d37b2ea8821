"""Types of values: how text from the command line, YAML or Python becomes a checked value."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from curator.encoders import parse_spec
from curator.errors import InputError, Use
from curator.settings.setting import Setting

__all__ = [
    "Budget",
    "Clusters",
    "Count",
    "Device",
    "Duration",
    "EncoderName",
    "EncoderNames",
    "MaxBad",
    "Names",
    "Precision",
    "Seed",
    "Share",
    "Similarity",
    "Stop",
    "Text",
    "Urls",
    "Weights",
    "Workers",
    "parse_budget",
    "parse_stop",
]

# What a stop rule is: found by the target, a share of the reference mean, or None for no rule.
Stop: TypeAlias = float | Literal["auto"] | None

PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smh]?)")
SECONDS_OF = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Budget:
    """How many samples to choose: a number, or a share of the candidates.

    Attributes:
        count: the number of samples; None if a share is given.
        share: the share of the candidates; None if a number is given.
    """

    count: int | None = None
    share: float | None = None

    def of(self, candidates: int) -> int:
        """The number of samples for a pool of this size: shares rounded down, at least 1.

        >>> Budget(share=0.05).of(10_069)
        503
        """
        if self.count is not None:
            return self.count
        assert self.share is not None
        # A share such as 5% is not exact in binary; without the rounding 5% of 20 could become 0.
        return max(1, int(round(self.share * candidates, 6)))


def parse_budget(text: str) -> Budget:
    """Read `N` or `P%`.

    Raises:
        InputError: anything else; a bare fraction gets the percent it may have meant.

    >>> parse_budget("5%")
    Budget(count=None, share=0.05)
    """
    digits = text.strip().replace(",", "").replace("_", "")
    if match := PERCENT.fullmatch(digits):
        share = float(match[1]) / 100
        if 0 < share <= 1:
            return Budget(share=share)
    elif digits.isdecimal() and int(digits) > 0:
        return Budget(count=int(digits))
    elif (number := _float(digits)) is not None and 0 < number < 1:
        raise InputError(
            "a fraction is ambiguous", field="budget", value=text, advice=Use("budget", f"{number * 100:g}%")
        )
    raise InputError("give a number of samples (1000) or a share of the pool (5%)", field="budget", value=text)


def parse_stop(text: str) -> Stop:
    """Read `auto`, `off`, or the share of the reference round's mean below which a run stops.

    Raises:
        InputError: anything else.
    """
    word = text.strip().lower()
    if word == "auto":
        return "auto"
    if word == "off":
        return None
    number = _float(word)
    if number is None or not 0 < number <= 1:
        raise InputError("give auto, a share above 0 and up to 1, such as 0.95, or off", field="stop", value=text)
    return number


def _parse_share(value: object) -> object:
    if not isinstance(value, str):
        return value
    if match := PERCENT.fullmatch(value.strip()):
        return float(match[1]) / 100
    number = _float(value)
    hint = f"; did you mean {number * 100:g}%?" if number is not None and 0 < number < 1 else ""
    raise ValueError(f"give a percentage such as 1%{hint}")


def _parse_duration(value: object) -> object:
    match = DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if isinstance(value, str) and match is None:
        raise ValueError("give seconds, minutes or hours, such as 90s, 15m or 2h")
    return float(match[1]) * SECONDS_OF[match[2]] if match else value


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _as_text(value: object) -> object:
    # YAML reads `budget: 1000` as a number and `stop: off` as a boolean.
    if value is False:
        return "off"
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _named_once(names: list[str]) -> list[str]:
    for name in names:
        if names.count(name) > 1:
            raise InputError("it is named twice", field="encoder", value=name)
    return names


def _auto_as_none(value: object) -> object:
    return None if value == "auto" else value


def _parse_workers(value: object) -> object:
    if isinstance(value, str) and value not in ("auto", "external") and not value.strip().isdecimal():
        raise ValueError("give a number, auto or external")
    return _auto_as_none(value)


def _anywhere(path: str) -> str:
    """A file of this machine by its absolute path: workers, and who reads run.json, may stand in another folder."""
    return os.path.abspath(path) if os.path.isfile(path) and path != "random" else path


def _encoder_anywhere(spec: str) -> str:
    family, colon, rest = spec.partition(":")
    if family != "checkpoint":
        return spec
    model = parse_spec(spec).model if rest else ""
    return f"{family}{colon}{_anywhere(model)}{rest.removeprefix(model)}"


Count = Annotated[int, Field(ge=1)]
Clusters = Annotated[Count | None, BeforeValidator(_auto_as_none)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Similarity = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, BeforeValidator(_parse_share), Field(ge=0, le=1)]
MaxBad = Annotated[
    Share | None,
    Setting(
        "The share of bad samples above which the run ends with exit code 3.",
        metavar="P%",
        default_text="1%, but at least 10 samples and at most a third of each set",
        changes=None,
    ),
]
Text = Annotated[str, BeforeValidator(_as_text)]
Urls = Annotated[list[str], BeforeValidator(_as_list)]
Names = Annotated[list[str], BeforeValidator(_as_list)]
Workers = Annotated[Count | Literal["external"] | None, BeforeValidator(_parse_workers)]
EncoderName = Annotated[str, AfterValidator(_encoder_anywhere)]
EncoderNames = Annotated[list[EncoderName], BeforeValidator(_as_list), AfterValidator(_named_once)]
Weights = Annotated[str, AfterValidator(_anywhere)]
Precision = Literal["auto", "fp32", "bf16"]
Duration = Annotated[float, BeforeValidator(_parse_duration), Field(ge=0, allow_inf_nan=False)]
"""Seconds; as text with a unit."""
Device = Literal["auto", "cpu", "cuda"]
