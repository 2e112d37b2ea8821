"""The settings of the commands that ask: `compare`, `search`, `dedup`, `inspect`, `verify`; of `submit` and `demo`."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from curator.errors import InputError, Use
from curator.settings import Config, Count, EncoderName, Seed, Setting, Similarity, Urls, Weights
from curator_pipelines.config.run import ReportBy

__all__ = [
    "CompareConfig",
    "DedupConfig",
    "DemoConfig",
    "ExportConfig",
    "InspectConfig",
    "RelocateConfig",
    "ReportConfig",
    "SearchConfig",
    "SubmitConfig",
    "VerifyConfig",
]


class DedupConfig(Config):
    """`curator dedup`."""

    run: Annotated[str, Setting("The run directory of embed or select.", metavar="OUT", changes=None, is_path=True)]
    dedup: Annotated[
        Similarity,
        Setting(
            "The similarity from which a sample is listed. No threshold finds copies and nothing else: look at "
            "OUT/dedup/contact_sheet.jpg, the pairs around it, before you deny.",
            metavar="SIMILARITY",
            changes=None,
        ),
    ] = 0.95
    clusters: Annotated[
        Count | None,
        Setting(
            "The number of clusters within which samples are compared.",
            metavar="K",
            default_text="the root of the pool's size",
            changes=None,
        ),
    ] = None
    seed: Annotated[Seed, Setting("The seed of k-means.", changes=None)] = 0


class SearchConfig(Config):
    """`curator search`: exactly one of the questions `image`, `key`, `text` and `why`."""

    run: Annotated[str, Setting("The run directory of select or embed.", metavar="OUT", changes=None, is_path=True)]
    image: Annotated[
        str | None, Setting("What is like this image?", metavar="FILE", changes=None, by_content=True, is_path=True)
    ] = None
    key: Annotated[str | None, Setting("What is like this sample of the pool?", metavar="KEY", changes=None)] = None
    text: Annotated[
        str | None,
        Setting("What shows this? The pool must be embedded by open_clip.", metavar="WORDS", changes=None),
    ] = None
    why: Annotated[
        str | None,
        Setting("What did the selection do with this sample, and because of what?", metavar="KEY", changes=None),
    ] = None
    shard: Annotated[
        str | None, Setting("The end of the shard's name, where a key is in several.", metavar="NAME", changes=None)
    ] = None
    target: Annotated[
        str | None, Setting("With {why}: the name of one of several targets.", metavar="NAME", changes=None)
    ] = None
    top: Annotated[int, Field(ge=1, le=100_000), Setting("The number of hits.", changes=None)] = 20
    sheet: Annotated[
        str | None,
        Setting(
            "Where the contact sheet goes.",
            metavar="FILE",
            default_text="OUT/search.png",
            changes=None,
            is_path=True,
        ),
    ] = None
    encoder: Annotated[
        EncoderName | None,
        Setting("The encoder of the question.", metavar="SPEC", default_text="that of the run", changes=None),
    ] = None
    weights: Annotated[
        Weights | None,
        Setting(
            "A local file of weights for the encoder.",
            metavar="PATH",
            default_text="those of the run",
            changes=None,
            is_path=True,
        ),
    ] = None

    @model_validator(mode="after")
    def _check_question(self) -> SearchConfig:
        questions = ("image", "key", "text", "why")
        given = [name for name in questions if getattr(self, name) is not None]
        if len(given) != 1:
            raise InputError(
                f"one question is needed, not {' and '.join(given) or 'none'}",
                advice=tuple(Use(name) for name in questions),
            )
        return self


class InspectConfig(Config):
    """`curator inspect`."""

    urls: Annotated[
        Urls, Setting("The shards, or one run directory.", metavar="URLS...", changes=None, is_argument=True)
    ]
    bad: Annotated[bool, Setting("Of a run directory: every sample that was left out, and why.", changes=None)] = False
    events: Annotated[
        bool,
        Setting("Of a run directory: what began, ended and was lost, with its time, of all calls.", changes=None),
    ] = False
    watch: Annotated[
        bool, Setting("Of a run directory: look again and again, until nobody works on it.", changes=None)
    ] = False

    @model_validator(mode="after")
    def _check_one_run(self) -> InspectConfig:
        asked = [name for name in ("bad", "events", "watch") if getattr(self, name)]
        if len(asked) > 1:
            raise InputError("one of these at a time", advice=tuple(Use(name, True) for name in asked))
        if asked and len(self.urls) != 1:
            raise InputError("give one run directory", field=asked[0], value=True)
        return self


class ReportConfig(Config):
    """`curator report`."""

    out: Annotated[
        str, Setting("The run directory of a finished selection.", changes=None, is_path=True, is_argument=True)
    ]
    report_by: ReportBy = None


class CompareConfig(Config):
    """`curator compare`."""

    runs: Annotated[
        Urls,
        Setting(
            "The run directories of finished selections; of one with several targets RUN/NAME.",
            metavar="RUN_A RUN_B...",
            changes=None,
            is_path=True,
            is_argument=True,
        ),
    ]
    label: Annotated[
        str | None,
        Setting(
            "Where labels are, to say how many chosen images are of the target's classes.",
            metavar="cls|json:FIELD|csv:FILE|folder",
            changes=None,
        ),
    ] = None
    out: Annotated[
        str,
        Setting("The page with the pictures, a file that ends with .html.", metavar="FILE", changes=None, is_path=True),
    ] = "compare.html"

    @model_validator(mode="after")
    def _check_page(self) -> CompareConfig:
        if not self.out.lower().endswith(".html"):
            raise InputError("the page is a file that ends with .html", field="out", value=self.out)
        return self


class ExportConfig(Config):
    """`curator export`."""

    out: Annotated[str, Setting("The run directory.", changes=None, is_path=True, is_argument=True)]
    to: Annotated[
        Literal["folder", "list", "atlas", "fiftyone"],
        Setting(
            "For what: folder has the files, list their names, atlas is a parquet file for Embedding Atlas, fiftyone a "
            "dataset of FiftyOne.",
            changes=None,
        ),
    ]
    dest: Annotated[
        str | None,
        Setting("Where it goes.", metavar="DIR", default_text="OUT/export/KIND", changes=None, is_path=True),
    ] = None


class VerifyConfig(Config):
    """`curator verify`."""

    out: Annotated[str, Setting("The run directory.", changes=None, is_path=True, is_argument=True)]


class RelocateConfig(Config):
    """`curator relocate`."""

    out: Annotated[str, Setting("The run directory.", metavar="OUT", changes=None, is_path=True, is_argument=True)]
    moves: Annotated[
        Urls,
        Setting(
            "What lay at OLD or below it, a folder or a file, lies at NEW; the longest of several counts.",
            metavar="OLD=NEW...",
            changes=None,
            is_argument=True,
        ),
    ]


class DemoConfig(Config):
    """`curator demo`."""

    out: Annotated[str, Setting("The folder for the data and the run.", metavar="DIR", changes=None, is_path=True)] = (
        "curator-demo"
    )


class SubmitConfig(Config):
    """`curator submit`."""

    address: Annotated[
        str | None,
        Setting("The URL of the cluster's dashboard, such as http://HEAD:8265.", metavar="URL", changes=None),
    ] = None
    working_dir: Annotated[
        str | None,
        Setting("The folder to send along, where the command runs.", metavar="DIR", changes=None, is_path=True),
    ] = None
    env: Annotated[
        Urls,
        Setting(
            "A variable of the job; a NAME alone takes the value that it has here. Ray's dashboard shows them.",
            metavar="NAME[=VALUE]",
            changes=None,
        ),
    ] = []  # noqa: RUF012
    entrypoint_num_cpus: Annotated[
        float | None,
        Field(ge=0, allow_inf_nan=False),
        Setting("The CPUs that the command itself reserves, beside its workers.", default_text="0", changes=None),
    ] = None
    entrypoint_num_gpus: Annotated[
        float | None,
        Field(ge=0, allow_inf_nan=False),
        Setting("The GPUs that the command itself reserves; it needs none.", default_text="0", changes=None),
    ] = None
    entrypoint_memory: Annotated[
        Count | None,
        Setting(
            "The bytes of memory that the command itself reserves.", metavar="BYTES", default_text="0", changes=None
        ),
    ] = None
    entrypoint_resources: Annotated[
        Urls,
        Setting(
            "A resource of one's own that the command itself reserves, such as head=0.1.",
            metavar="NAME=AMOUNT",
            changes=None,
        ),
    ] = []  # noqa: RUF012
    no_wait: Annotated[bool, Setting("Return as soon as the job is accepted.", changes=None)] = False
    words: Annotated[
        list[str],
        Setting("The command to run.", metavar="-- COMMAND ...", changes=None, is_argument=True),
    ]

    def environment(self) -> dict[str, str]:
        """Name -> value of the job's variables.

        Raises:
            InputError: a name without a value that has none here, or no name.
        """
        values = {}
        for given in self.env:
            name, equals, value = given.partition("=")
            if not name.isidentifier():
                raise InputError("give NAME=VALUE, or a NAME that is set here", field="env", value=name)
            if not equals and name not in os.environ:
                raise InputError("it is not set here: give its value too", field="env", value=name)
            values[name] = value if equals else os.environ[name]
        return values

    def reserved(self) -> dict[str, Any]:
        """What the command itself reserves, as Ray's job server is told it: only what was given.

        Raises:
            InputError: a resource without a name, or whose amount is not a number above zero.
        """
        own = {}
        for given in self.entrypoint_resources:
            name, _, amount = given.rpartition("=")
            try:
                own[name] = float(amount)
            except ValueError:
                own[name] = 0.0
            if not name or not 0 < own[name] < float("inf"):
                raise InputError("give NAME=AMOUNT, such as head=0.1", field="entrypoint_resources", value=given)
        names = ("entrypoint_num_cpus", "entrypoint_num_gpus", "entrypoint_memory")
        values = {name: getattr(self, name) for name in names} | {"entrypoint_resources": own or None}
        return {name: value for name, value in values.items() if value is not None}
