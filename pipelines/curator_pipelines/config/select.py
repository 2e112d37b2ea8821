"""What a run is told: the flags of the commands, as checked values. Defaults live here.

The command line and YAML files fill the same models, so both are judged by the same rules.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from curator.encoders.spec import parse_spec
from curator.errors import InputError

__all__ = [
    "Budget",
    "Config",
    "EmbedConfig",
    "EncoderName",
    "IndexConfig",
    "PackConfig",
    "SelectConfig",
    "Share",
    "Text",
    "Urls",
    "Weights",
    "build",
    "parse_budget",
    "parse_stop",
]

PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
TARGET_NAME = re.compile(r"([A-Za-z0-9_-]+)=")
DEFAULT_STOP = 0.95


@dataclass(frozen=True, slots=True)
class Budget:
    """How many samples to choose: a number, or a share of the candidates."""

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
    text = text.strip().replace(",", "").replace("_", "")
    if match := PERCENT.fullmatch(text):
        share = float(match[1]) / 100
        if 0 < share <= 1:
            return Budget(share=share)
    elif text.isdecimal() and int(text) > 0:
        return Budget(count=int(text))
    elif (number := _float(text)) is not None and 0 < number < 1:
        raise InputError(
            f"--budget {text}: a fraction is ambiguous; for a share of the pool write --budget {number * 100:g}%"
        )
    raise InputError(f"--budget {text}: give a number of samples (1000) or a share of the pool (5%)")


def parse_stop(text: str) -> float | None:
    """Read `off`, or the share of the reference round's mean below which a run stops.

    Raises:
        InputError: anything else.
    """
    if text.strip().lower() == "off":
        return None
    number = _float(text)
    if number is None or not 0 < number <= 1:
        raise InputError(f"--stop {text}: give a share above 0 and up to 1, such as 0.95, or off")
    return number


def _parse_share(value: object) -> object:
    if not isinstance(value, str):
        return value
    if match := PERCENT.fullmatch(value.strip()):
        return float(match[1]) / 100
    number = _float(value)
    hint = f"; did you mean {number * 100:g}%?" if number is not None and 0 < number < 1 else ""
    raise ValueError(f"give a percentage such as 1%{hint}")


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


def _auto_as_none(value: object) -> object:
    return None if value == "auto" else value


def _anywhere(path: str) -> str:
    """A file of this machine by its absolute path: workers, and who reads run.json, may stand in another folder."""
    return os.path.abspath(path) if os.path.isfile(path) and path != "random" else path


def _encoder_anywhere(spec: str) -> str:
    family, colon, rest = spec.partition(":")
    if family != "checkpoint":
        return spec
    model = parse_spec(spec).model if rest else ""
    return f"{family}{colon}{_anywhere(model)}{rest.removeprefix(model)}"


EncoderName = Annotated[str, AfterValidator(_encoder_anywhere)]
Weights = Annotated[str, AfterValidator(_anywhere)]
Share = Annotated[float, BeforeValidator(_parse_share), Field(ge=0, le=1)]
Urls = Annotated[list[str], BeforeValidator(_as_list)]
Text = Annotated[str, BeforeValidator(_as_text)]
Workers = Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_auto_as_none)]


class Config(BaseModel):
    """Checked values; an unknown name is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ExecutorConfig(Config):
    """Where the work runs.

    Attributes:
        address: of a Ray cluster, or `local` to start one here; None for RAY_ADDRESS where it is set, else for
            worker processes on this machine.
        workers: how many; None or `auto` for one a GPU, else by CPUs (without Ray: one).
        gpus_per_worker: GPUs, or the share of one, of a Ray worker.
    """

    address: str | None = None
    workers: Workers = None
    gpus_per_worker: float = Field(default=1.0, gt=0)


class EncodingConfig(ExecutorConfig):
    """How images become embeddings.

    Attributes:
        encoder: see `curator.encoders.load_encoder`.
        weights: local weights file, or `random`.
        batch_size: images a forward pass; None for the device's default.
        precision: `auto` is bf16 where the hardware has it.
        device: `auto` is the GPU if there is one.
        min_side: pool images with a shorter side than this many pixels are left out.
        max_bad: share of the samples seen that may be bad.
    """

    encoder: EncoderName = "warmup"
    weights: Weights | None = None
    batch_size: int | None = Field(default=None, ge=1)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    min_side: int = Field(default=0, ge=0)
    max_bad: Share = 0.01


class EmbedConfig(EncodingConfig):
    """`curator embed`."""

    out: str
    pool: Urls
    redo: Literal["pool"] | None = None


class IndexConfig(ExecutorConfig):
    """`curator index`.

    Attributes:
        out: run directory with an embedded pool.
        add: take newer parts into a finished index.
        factory: faiss' name of the index, see `curator.index.parse_factory`; None for Flat, with lists by size.
        seed: of the training sample and of k-means.
    """

    out: str
    add: bool = False
    factory: str | None = None
    seed: int = Field(default=0, ge=0, lt=2**32)


class PackConfig(ExecutorConfig):
    """`curator pack`."""

    out: str
    pool: Urls = []
    shard_size: int = Field(default=1000, ge=1)
    manifest_only: bool = False
    seed: int = Field(default=0, ge=0, lt=2**32)


class SelectConfig(EncodingConfig):
    """`curator select`.

    Attributes:
        target: the domain's images; `NAME=URLS` for several targets.
        pool: the open-set to choose from.
        clusters: K, the number of centroids.
        budget: `N` or `P%`; None for no limit.
        stop: share of the reference round's mean similarity below which to stop, or `off`.
            None: 0.95 where there is no budget either, else off.
        reference_round: the round that the stop rule compares with.
        selector: `simcore`, `knn` or `random`.
        dedup: similarity from which a sample shows what a chosen one shows; None compares nothing.
        exclude: evaluation images, near to which nothing is chosen.
        exclude_above: similarity from which a sample is too near to one of them.
        search: `exact` reads every vector, `ivf` what an index thinks worth it.
        recall: share of the rows that matter which `ivf` aims to read.
        deny: file of samples never to choose.
        manifest_only: write no tars.
        shard_size: samples an output shard.
        seed: of k-means, of the random selector and of the order inside output shards.
        warmup_epochs: how long `--encoder warmup` trains; None for what a person can wait for.
        redo: the stage from which to start anew.
    """

    out: str
    target: Urls
    pool: Urls
    clusters: int = Field(default=100, ge=1)
    budget: Text | None = None
    stop: Text | None = None
    reference_round: int = Field(default=1, ge=1)
    selector: Literal["simcore", "knn", "random"] = "simcore"
    dedup: float | None = Field(default=None, gt=0, le=1)
    exclude: Urls = []
    exclude_above: float = Field(default=0.95, gt=0, le=1)
    search: Literal["exact", "ivf"] = "exact"
    recall: float = Field(default=0.99, gt=0, le=1)
    deny: str | None = None
    manifest_only: bool = False
    shard_size: int = Field(default=1000, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**32)
    warmup_epochs: int | None = Field(default=None, ge=1)
    redo: Literal["warmup", "embed", "target", "pool", "exclude", "select", "pack"] | None = None

    @model_validator(mode="after")
    def _check_ends(self) -> SelectConfig:
        budget, stop = self.limits()
        if self.selector != "simcore":
            if budget is None:
                raise InputError(f"--selector {self.selector} needs --budget: only simcore stops by itself")
            if self.search != "exact":
                raise InputError(
                    f"--search {self.search} is for simcore; --selector {self.selector} reads every vector"
                )
            if self.stop is not None and stop is not None:
                raise InputError(f"--stop is simcore's rule; with --selector {self.selector} give --budget")
        elif budget is None and stop is None:
            raise InputError("--stop off needs --budget: something must end the selection")
        self._check_of_use()
        self.targets()
        return self

    def _check_of_use(self) -> None:
        """Refuse what was given and would change nothing."""
        given = self.model_fields_set
        if "exclude_above" in given and not self.exclude:
            raise InputError("--exclude-above needs --exclude: the images that nothing may be near to")
        if "recall" in given and self.search == "exact":
            raise InputError("--recall is for --search ivf: the exact search misses nothing")
        if "reference_round" in given and self.selector != "simcore":
            raise InputError(f"--reference-round is for simcore's rule; --selector {self.selector} has no rounds")
        if "warmup_epochs" in given and self.encoder != "warmup":
            raise InputError(f"--warmup-epochs is for --encoder warmup; --encoder {self.encoder} is ready")

    def targets(self) -> dict[str, list[str]]:
        """Name -> URLS of each target, in the order in which they were given; the name of an only target is empty.

        Raises:
            InputError: targets with and without a name.
        """
        targets: dict[str, list[str]] = {}
        for text in self.target:
            match = TARGET_NAME.match(text)
            name, urls = (match[1], text[match.end() :]) if match else ("", text)
            targets.setdefault(name, []).append(urls)
        if "" in targets and len(targets) > 1:
            raise InputError(
                f"--target {targets[''][0]}: of several targets each needs a name: --target NAME=URLS "
                "(a path that looks like NAME=... is written ./NAME=...)"
            )
        return targets

    def limits(self) -> tuple[Budget | None, float | None]:
        """The budget and the stop rule in force; neither given means stop 0.95."""
        budget = parse_budget(self.budget) if self.budget is not None else None
        if self.stop is not None:
            return budget, parse_stop(self.stop)
        return budget, (DEFAULT_STOP if budget is None else None)


C = TypeVar("C", bound=BaseModel)


def build(model: type[C], values: dict[str, Any]) -> C:
    """Check values against a model; None means the default, as does an empty list (a flag never given).

    Raises:
        InputError: one line about the first value that does not fit.
    """
    try:
        return model.model_validate({name: value for name, value in values.items() if value not in (None, (), [])})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        flag = "--" + str(first["loc"][0]).replace("_", "-") if first["loc"] else "config"
        value = "" if first["type"] == "missing" else f" {first.get('input')}"
        message = "is missing" if first["type"] == "missing" else _in_our_words(first["msg"])
        raise InputError(f"{flag}{value}: {message}".replace(": is missing", " is missing")) from error


def _in_our_words(message: str) -> str:
    """A library's message: what the value should be, without how it was read."""
    return message.removeprefix("Value error, ").removeprefix("Input ").partition(", unable to parse")[0]
