"""What names an encoder: a family of the table, and a model in it. Cheap to import: no torch here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from curator.errors import InputError
from curator.plugins import Table

__all__ = ["ENCODERS", "EncoderSpec", "near_names", "parse_spec"]

# A loader is called with the parsed spec and the weights the user gave, if any, and returns a `Backbone`.
ENCODERS = Table(
    kind="encoder",
    group="curator.encoders",
    builtin={
        "lite0": "curator.encoders.lite0:load_lite0",
        "small_resnet": "curator.encoders.small_resnet:load_small_resnet",
        "timm": "curator.encoders.timm_models:load_timm",
        "torchvision": "curator.encoders.torchvision_models:load_torchvision",
        "open_clip": "curator.encoders.open_clip_models:load_open_clip",
        "checkpoint": "curator.encoders.checkpoint:load_checkpoint",
    },
    takes_argument=True,
    forms="lite0, timm:MODEL, torchvision:MODEL, open_clip:MODEL/PRETRAINED, checkpoint:PATH",
)

# Encoders that only a target tells: trained on it, or measured with it. There is nothing to load yet.
OF_TARGET = {"warmup": "only `select` and `measure` train one", "auto": "only a target can tell which one"}


@dataclass(frozen=True)
class EncoderSpec:
    """The name of an encoder in its parts.

    Attributes:
        family: a name of `ENCODERS`, an entry point, or `MODULE:NAME`.
        model: the model's name in that family; empty for `lite0`; the file of a `checkpoint`; for a plug-in what the
            user wrote behind its name and a colon.
        pretrained: open_clip's tag of the weights; empty where none is named.
        architecture: what a `checkpoint` holds, `timm:NAME` or `torchvision:NAME`; empty where not named.
    """

    family: str
    model: str = ""
    pretrained: str = ""
    architecture: str = ""


def parse_spec(spec: str) -> EncoderSpec:
    """Split an encoder's name into its parts; whether the model exists, its family's loader knows.

    Raises:
        InputError: no such family, or the model is missing.

    >>> parse_spec("open_clip:ViT-B-32/laion2b_s34b_b79k").pretrained
    'laion2b_s34b_b79k'
    >>> parse_spec("checkpoint:moco.pth@timm:resnet50").architecture
    'timm:resnet50'
    """
    if reason := OF_TARGET.get(spec.partition(":")[0]):
        raise InputError(
            reason,
            field="encoder",
            value=spec,
            advice="name another here, such as checkpoint:RUN/encoder.pt, lite0 or timm:resnet50",
        )
    plugin = ENCODERS.locate(spec)
    family, model = plugin.name, plugin.argument
    if not plugin.is_builtin:
        return EncoderSpec(family, model)
    if family in ("lite0", "small_resnet"):
        if ":" in spec:
            raise InputError(f"{family} is one model", field="encoder", value=spec, advice=f"write just {family}")
        return EncoderSpec(family)
    if not model:
        missing = "file" if family == "checkpoint" else "model"
        raise InputError(f"the {missing} is missing; an encoder is {ENCODERS.forms}", field="encoder", value=spec)
    if family == "checkpoint":
        path, _, architecture = model.rpartition("@")
        # URLs may have an @ of their own.
        named = path and architecture.startswith(("timm:", "torchvision:"))
        return EncoderSpec(family, path, architecture=architecture) if named else EncoderSpec(family, model)
    if family != "open_clip" or model.startswith("hf-hub:"):
        return EncoderSpec(family, model)
    # Tags have no slash in them; some people write model names with one.
    name, _, pretrained = model.rpartition("/") if "/" in model else (model, "", "")
    return EncoderSpec(family, name, pretrained)


def near_names(name: str, known: Iterable[str]) -> str:
    """The known names most like this one, to put behind "unknown ...": `` (near: a, b)``, or nothing.

    >>> near_names("resnet5", ["resnet50", "vit"])
    ' (near: resnet50)'
    """
    lowered = {candidate.lower(): candidate for candidate in known}
    near = get_close_matches(name.lower(), lowered, n=3, cutoff=0.5)
    return f" (near: {', '.join(lowered[match] for match in near)})" if near else ""
