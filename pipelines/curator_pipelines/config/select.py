"""The settings of `curator select`, `plan`, `embed`, `index` and `pack`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import model_validator

from curator.errors import InputError, Leave, Use
from curator.selection import SELECTOR_SETTINGS, SELECTORS, find_selector
from curator.settings import (
    REDONE,
    Budget,
    Clusters,
    Config,
    Count,
    EncoderName,
    Seed,
    Setting,
    Share,
    Similarity,
    Stop,
    Text,
    Urls,
    Weights,
    build,
    declared,
    parse_budget,
    parse_stop,
)
from curator_pipelines.config.presets import PRESETS, Preset
from curator_pipelines.config.run import (
    AUTO,
    WARMUP,
    EncodingConfig,
    ExecutorConfig,
    NamedEncodingConfig,
    ReportBy,
    TargetEncodingConfig,
    WarmupArch,
    WarmupSize,
)
from curator_pipelines.config.targets import by_name

__all__ = [
    "Budget",
    "Config",
    "EmbedConfig",
    "EncoderName",
    "EncodingConfig",
    "ExecutorConfig",
    "IndexConfig",
    "PackConfig",
    "PlanConfig",
    "SelectConfig",
    "Share",
    "Text",
    "Urls",
    "Weights",
    "build",
    "parse_budget",
    "parse_stop",
]


class EmbedConfig(NamedEncodingConfig):
    """`curator embed`."""

    pool: Annotated[Urls, Setting("The pool: shards, or ready embeddings.", changes="pool", by_content=True)]
    out: Annotated[str, Setting("The run directory; parts go to OUT/pool.", metavar="URL", changes=None, is_path=True)]
    redo: Annotated[
        Literal["pool"] | None, Setting("The stage from which to start anew.", metavar="STAGE", changes=None)
    ] = None


class IndexConfig(ExecutorConfig):
    """`curator index`."""

    out: Annotated[
        str,
        Setting(
            "The run directory with an embedded pool; the index goes to OUT/index.",
            metavar="URL",
            changes=None,
            is_path=True,
        ),
    ]
    add: Annotated[bool, Setting("Newer parts of the pool are added to a finished index.", changes=None)] = False
    factory: Annotated[
        str | None,
        Setting(
            "The name of the index in faiss: n lists of Flat (vectors), SQ8 or PQm (codes).",
            metavar="IVFn,KIND",
            default_text="2 sqrt(rows) lists, Flat",
            changes="index",
        ),
    ] = None
    seed: Annotated[Seed, Setting("The seed of the training sample and of k-means.", changes="index")] = 0


class PackConfig(ExecutorConfig):
    """`curator pack`."""

    out: Annotated[
        str, Setting("The run directory with a finished selection.", metavar="URL", changes=None, is_path=True)
    ]
    pool: Annotated[
        Urls, Setting("Where the shards are read, if their URLs carry secrets.", changes=None, by_content=True)
    ] = []  # noqa: RUF012
    manifest_only: Annotated[bool, Setting("The manifest is written, but no tars.", changes="pack")] = False
    shard_size: Annotated[Count, Setting("The number of samples in an output shard.", changes="pack")] = 1000
    seed: Annotated[Seed, Setting("The seed of the order in output shards.", changes="pack")] = 0


class SelectConfig(TargetEncodingConfig):
    """`curator select`."""

    target: Annotated[
        Urls,
        Setting(
            "The images of your domain: shards, a folder, or embeddings; NAME= for several, in one pass over the pool.",
            metavar="[NAME=]URLS",
            changes="target",
            by_content=True,
        ),
    ]
    pool: Annotated[
        Urls,
        Setting(
            "The images to choose from: shards, embeddings, or another run's pool.", changes="pool", by_content=True
        ),
    ]
    out: Annotated[
        str,
        Setting(
            "The run directory; a finished part in it is not done again.", metavar="URL", changes=None, is_path=True
        ),
    ]
    preset: Annotated[
        Preset | None,
        Setting(
            "Encoder, centroids and stop rule go together: as in the paper, or as in its authors' code.",
            changes="target",
            by_content=True,
        ),
    ] = None
    clusters: Annotated[
        Clusters,
        Setting(
            "The number of centroids of the target.",
            metavar="auto|K",
            default_text="auto: one for each distinct target image, of more than 2,000 images 1,000",
        ),
    ] = None
    budget: Annotated[
        Text | None,
        Setting("The largest number of samples to choose.", metavar="N|P%", default_text="no limit"),
    ] = None
    stop: Annotated[
        Text | None,
        Setting(
            "The selection stops below this share of the reference round's mean; auto finds it by the target's own "
            "images.",
            metavar="auto|SHARE|off",
            default_text="auto, off with {budget}",
        ),
    ] = None
    reference_round: Annotated[Count, Setting("The round whose mean {stop} compares with.")] = 1
    selector: Annotated[str, Setting("The way to choose.", choices=SELECTORS.builtin)] = "simcore"
    per_target: Annotated[
        Count, Setting("How many times its fair share one image of {target} may have of what csls chooses.")
    ] = 4
    skip_own: Annotated[
        bool, Setting("A pool image that is one of the target's own is skipped.", default_text="on")
    ] = True
    dedup: Annotated[
        Similarity | None,
        Setting(
            "A sample is skipped if it is at least this similar to a chosen one. No threshold finds copies and nothing "
            "else: with lite0 0.95 finds half of the altered copies, and skips drawings that differ.",
            metavar="SIMILARITY",
        ),
    ] = None
    exclude: Annotated[
        Urls, Setting("Evaluation images: nothing near to one is chosen.", changes="exclude", by_content=True)
    ] = []  # noqa: RUF012
    exclude_above: Annotated[
        Similarity,
        Setting("The similarity from which a sample is too near to an image of {exclude}.", metavar="SIMILARITY"),
    ] = 0.95
    search: Annotated[
        Literal["exact", "ivf"],
        Setting("How the pool is read: exact reads every vector, ivf reads the promising lists of an index."),
    ] = "exact"
    recall: Annotated[
        Similarity,
        Setting(
            "The share of the samples of the exact answer that ivf aims at; 1 gives the exact answer.", metavar="SHARE"
        ),
    ] = 0.99
    deny: Annotated[
        str | None,
        Setting(
            "A list of samples never to choose: KEY or SHARD<TAB>KEY a line, or parquet.",
            metavar="FILE",
            by_content=True,
            is_path=True,
        ),
    ] = None
    manifest_only: Annotated[bool, Setting("The manifest is written, but no tars.", changes="pack")] = False
    shard_size: Annotated[Count, Setting("The number of samples in an output shard.", changes="pack")] = 1000
    seed: Annotated[
        Seed,
        Setting(
            "The seed of the warm-up, of k-means, of the random selector and of the order in output shards.",
            changes="warmup",
        ),
    ] = 0
    warmup_epochs: Annotated[
        Count | None,
        Setting(
            "The number of epochs for which the encoder warmup is trained.",
            default_text="400 steps on a CPU, 2,000 on a GPU",
            changes="warmup",
        ),
    ] = None
    warmup_arch: WarmupArch = None
    warmup_size: WarmupSize = None
    report: Annotated[
        bool,
        Setting(
            "OUT/report.html and OUT/contact_sheet.jpg are written, which show what was chosen.",
            default_text="on",
            changes=None,
        ),
    ] = True
    report_by: ReportBy = None
    redo: Annotated[
        str | None,
        Setting(
            f"The stage from which to start anew: {', '.join(REDONE)}.",
            metavar="STAGE",
            changes=None,
            choices=tuple(REDONE),
        ),
    ] = None

    @model_validator(mode="after")
    def _apply_preset(self) -> SelectConfig:
        """Put a preset's values in the place of defaults. They do not count as given, so no check is about them."""
        given = self.model_fields_set
        for name, value in (PRESETS[self.preset] if self.preset else {}).items():
            # With a budget there is no stop rule but one that is given.
            if name not in given and not (name == "stop" and self.budget is not None):
                # The model is frozen, and pydantic's own ways to set a value would count it as given.
                object.__setattr__(self, name, value)
        return self

    @model_validator(mode="after")
    def _check_together(self) -> SelectConfig:
        budget, stop = self.limits()
        if budget is None and find_selector(self.selector).needs_budget:
            raise InputError(
                "this selector does not stop by itself", field="selector", value=self.selector, advice=Use("budget")
            )
        if budget is None and stop is None and self.stop is not None:
            raise InputError("something must end the selection", field="stop", value="off", advice=Use("budget"))
        self._check_read()
        self.targets()
        return self

    def _check_read(self) -> None:
        """Refuse what was given and would change nothing."""
        given = self.model_fields_set
        if self.weights is not None and self.is_measured:
            raise InputError(
                "these are the weights of one encoder, and "
                + ("none is named" if self.encoder == [AUTO] else f"{len(self.encoder)} are named"),
                field="weights",
                value=self.weights,
                advice=Use("encoder"),
            )
        for name in sorted(given & self.unread()):
            # A setting that an earlier stage reads as well, such as the seed, has its use.
            if declared(type(self))[name].setting.changes == "select":
                raise InputError(
                    f"the selector {self.selector} does not read this setting",
                    field=name,
                    value=getattr(self, name),
                    advice=Leave(name),
                )
        if "exclude_above" in given and not self.exclude:
            raise InputError(
                "there are no evaluation images", field="exclude_above", advice=(Use("exclude"), Leave("exclude_above"))
            )
        if "recall" in given and self.search == "exact":
            raise InputError(
                "the exact search misses nothing", field="recall", advice=(Use("search", "ivf"), Leave("recall"))
            )
        for name in ("warmup_arch", "warmup_epochs", "warmup_size"):
            if name in given and WARMUP not in self.encoder:
                raise InputError(
                    f"the encoder {' or '.join(self.encoder)} is ready and is not trained",
                    field=name,
                    advice=(Use("encoder", WARMUP), Leave(name)),
                )

    def read_by(self, stage: str) -> frozenset[str]:
        """Names of the settings that a stage reads although they declare an earlier one."""
        return find_selector(self.selector).reads if stage == "select" else frozenset()

    def unread(self) -> frozenset[str]:
        """Names of the settings that only other selectors read."""
        return SELECTOR_SETTINGS - find_selector(self.selector).reads

    def targets(self) -> dict[str, list[str]]:
        """Name -> URLS of each target, in the order in which they were given; the name of an only target is empty.

        Raises:
            InputError: targets with and without a name.
        """
        return by_name(self.target)

    def limits(self) -> tuple[Budget | None, Stop]:
        """The budget and the stop rule in force; neither given means the stop rule auto, where the selector has one."""
        budget = parse_budget(self.budget) if self.budget is not None else None
        if "stop" in self.unread():
            return budget, None
        if self.stop is not None:
            return budget, parse_stop(self.stop)
        return budget, ("auto" if budget is None else None)

    def resolved(self) -> dict[str, Any]:
        """Name -> the value in force, with budget and stop rule as they are understood."""
        budget, stop = self.limits()
        return self.model_dump() | {"budget": [budget.count, budget.share] if budget else None, "stop": stop}


class PlanConfig(SelectConfig):
    """`curator plan`."""

    calibrate: Annotated[
        bool, Setting("A minute of the work is done, to say how long all of it takes.", changes=None)
    ] = False
