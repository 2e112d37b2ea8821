"""What `--encoder` may say. Cheap to import: no torch here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from curator.errors import InputError

__all__ = ["FAMILIES", "EncoderSpec", "near_names", "parse_spec"]

FAMILIES = ("lite0", "timm", "torchvision", "open_clip", "checkpoint")
_OF_SELECT = ("warmup",)
_FORMS = "lite0, timm:MODEL, torchvision:MODEL, open_clip:MODEL/PRETRAINED or checkpoint:PATH"


@dataclass(frozen=True)
class EncoderSpec:
    """A parsed `--encoder`.

    Attributes:
        family: one of `FAMILIES`.
        model: the model's name in that family; empty for `lite0`; the file of a `checkpoint`.
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
    family, colon, model = spec.partition(":")
    if family in _OF_SELECT:
        raise InputError(
            f"--encoder {spec}: only `curator select` trains one; here name another, such as "
            "checkpoint:RUN/encoder.pt, lite0 or timm:resnet50"
        )
    if family not in FAMILIES:
        raise InputError(f"--encoder {spec}: unknown encoder{near_names(family, FAMILIES)}; it is {_FORMS}")
    if family == "lite0":
        if colon:
            raise InputError(f"--encoder {spec}: lite0 is one model; write just lite0")
        return EncoderSpec(family)
    if not model:
        raise InputError(
            f"--encoder {spec}: the {'file' if family == 'checkpoint' else 'model'} is missing; an encoder is {_FORMS}"
        )
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
