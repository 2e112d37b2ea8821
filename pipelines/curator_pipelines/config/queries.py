"""What `curator dedup` and `curator search` are told: questions to a pool that is embedded already."""

from __future__ import annotations

from pydantic import Field, model_validator

from curator.errors import InputError
from curator_pipelines.config.select import Config, EncoderName, Weights

__all__ = ["DedupConfig", "SearchConfig"]


class DedupConfig(Config):
    """`curator dedup`.

    Attributes:
        run: a run directory with an embedded pool.
        dedup: similarity from which a sample is superfluous.
        clusters: within which samples are compared; None for the root of the pool's size.
        seed: of k-means.
    """

    run: str
    dedup: float = Field(default=0.95, gt=0, le=1)
    clusters: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**32)


class SearchConfig(Config):
    """`curator search`: exactly one of `image`, `key`, `text` and `why` is asked.

    Attributes:
        run: a run directory with an embedded pool.
        image: an image file.
        key: a sample of the pool.
        text: words.
        why: a sample of the pool whose fate is to be told.
        shard: end of the name of the shard that the key is in.
        target: which of several targets `why` speaks of.
        top: how many hits.
        sheet: where the contact sheet goes; None for OUT/search.png.
        encoder: None for the run's.
        weights: None for the run's.
    """

    run: str
    image: str | None = None
    key: str | None = None
    text: str | None = None
    why: str | None = None
    shard: str | None = None
    target: str | None = None
    top: int = Field(default=20, ge=1, le=100_000)
    sheet: str | None = None
    encoder: EncoderName | None = None
    weights: Weights | None = None

    @model_validator(mode="after")
    def _check_question(self) -> SearchConfig:
        asked = [name for name in ("image", "key", "text", "why") if getattr(self, name) is not None]
        if len(asked) != 1:
            given = " and ".join(f"--{name}" for name in asked) or "nothing"
            raise InputError(f"give one of --image, --key, --text and --why, not {given}")
        return self
