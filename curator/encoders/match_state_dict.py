"""Match the tensors of a file with those of a model, where training wrapped and named them in its own way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product

import torch
from torch import nn

from curator.encoders.adapt_tensors import adapt_tensors, without_chunks
from curator.encoders.weights import WeightsOrigin, read_weights

__all__ = ["Match", "find_match", "load_matching", "load_weights"]

# Modules that methods train beside the backbone, under the same prefix: SwAV's prototypes, MAE's decoder, MoCo's queue.
_TRAINED_BESIDE = (
    *("fc", "head", "classifier", "projector", "projection", "projection_head", "predictor", "prediction_head"),
    *("prototypes", "decoder", "mask_token", "queue", "queue_ptr", "padding"),
)
# Where a file holds two networks, the network whose features its paper uses comes first (DINO's teacher, MoCo's query
# encoder), then any other, then moving averages.
_FIRST = ("teacher", "encoder_q", "online", "ema")
_LAST = ("student", "encoder_k", "momentum", "target")


@dataclass(frozen=True)
class Match:
    """How well tensors match those of a model.

    Attributes:
        tensors: the tensors that match, under the model's names.
        missing: names of the model's tensors that the file lacks.
        unexpected: names of tensors that the model does not have.
        misshapen: names of tensors of another shape, with both shapes.
        notes: what was done to the tensors so that they match, a line each.
    """

    tensors: dict[str, torch.Tensor]
    missing: list[str]
    unexpected: list[str]
    misshapen: list[str]
    notes: tuple[str, ...] = ()

    @property
    def problems(self) -> str:
        """The tensors that do not match, as counts and first names; empty if all match."""
        problems = {"missing": self.missing, "unexpected": self.unexpected, "of another shape": self.misshapen}
        return "; ".join(f"{len(names)} {what}: {_first(names)}" for what, names in problems.items() if names)

    @property
    def share(self) -> float:
        """The share of all names on both sides that match, which tells the nearest model."""
        bad = len(self.missing) + len(self.unexpected) + len(self.misshapen)
        return len(self.tensors) / max(1, len(self.tensors) + bad)


def load_weights(model: nn.Module, path: str, ignore: Iterable[str] = ()) -> tuple[str, ...]:
    """Load a weights file into a model; see `load_matching`.

    Raises:
        InputError: there is no such file, or its tensors do not match the model's.
    """
    return load_matching(model, read_weights(path), WeightsOrigin("weights", path), ignore)


def load_matching(
    model: nn.Module, tensors: Mapping[str, torch.Tensor], origin: WeightsOrigin, ignore: Iterable[str] = ()
) -> tuple[str, ...]:
    """Load tensors into a model, which must match one to one, apart from prefixes and training heads.

    Args:
        model: the model without its classifier.
        tensors: name -> tensor.
        origin: where the tensors come from, for messages.
        ignore: names of modules whose tensors the file may hold too (the classifier that the model has no more).

    Returns:
        what was done to the tensors so that they match, a line each.

    Raises:
        InputError: tensors are missing, unexpected or of another shape; the first few are named.
    """
    match = find_match(model, tensors, ignore)
    if match.problems:
        raise origin.error(f"its tensors do not match the model's: {match.problems}")
    model.load_state_dict(match.tensors, strict=False)
    return match.notes


def find_match(model: nn.Module, tensors: Mapping[str, torch.Tensor], ignore: Iterable[str] = ()) -> Match:
    """The best way to read the names of a file as the model's.

    Prefixes of any kind are understood (`module.encoder_q.`, `teacher.backbone.`), and the numbers that modules get
    in `nn.Sequential(*resnet.children())`. Blocks are taken out of chunks, and tensors brought to the model's form: see
    `curator.encoders.adapt_tensors`.

    Args:
        model: see `load_matching`; it may be on the meta device.
        tensors: see `load_matching`.
        ignore: see `load_matching`.
    """
    own = model.state_dict()
    numbers = {name: str(number) for number, (name, _) in enumerate(model.named_children())}
    best: tuple[tuple[float, int], Match] | None = None
    spellings = {name: name for name in own}, {_numbered(name, numbers): name for name in own}
    forms = [form for form in (tensors, without_chunks(tensors)) if form is not None]
    for spelling, form in product(spellings, forms):
        for prefix in _prefixes(next(iter(spelling)), form):
            match = _match_under(prefix, spelling, own, form, tuple(ignore))
            key = match.share, -_rank(prefix)
            if best is None or key > best[0]:
                best = key, match
    assert best is not None
    return best[1]


def _numbered(name: str, numbers: Mapping[str, str]) -> str:
    first, dot, rest = name.partition(".")
    return numbers.get(first, first) + dot + rest


def _prefixes(anchor: str, tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """No prefix, and every prefix that stands before the model's first name somewhere in the file."""
    prefixes = [name.removesuffix(anchor) for name in tensors if name.endswith("." + anchor)]
    return list(dict.fromkeys(["", *prefixes]))


def _rank(prefix: str) -> int:
    if any(word in prefix for word in _LAST):
        return 2
    return 0 if any(word in prefix for word in _FIRST) else 1


def _match_under(
    prefix: str,
    spelling: Mapping[str, str],
    own: Mapping[str, torch.Tensor],
    tensors: Mapping[str, torch.Tensor],
    heads: tuple[str, ...],
) -> Match:
    beside = tuple(f"{name}." for name in heads if name)
    stripped = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    # A model's own name where its numbers are looked for would stand for a tensor that is there already.
    strays = [name for name in stripped if name not in spelling and name in own]
    spelled = {spelling.get(name, name): value for name, value in stripped.items() if name not in strays}
    adapted, notes = adapt_tensors(spelled, own)
    known = {name: value for name, value in adapted.items() if name in own}
    missing = [name for name in own if name not in known and not name.endswith("num_batches_tracked")]
    unexpected = [
        name
        for name in [*strays, *adapted]
        if (name in strays or name not in own) and not name.startswith(beside or "\0") and not _is_beside(name)
    ]
    misshapen = [
        f"{name} {_shape(value)} for {_shape(own[name])}"
        for name, value in known.items()
        if value.shape != own[name].shape
    ]
    matching = {name: value for name, value in known.items() if value.shape == own[name].shape}
    return Match(matching, missing, unexpected, misshapen, tuple(notes))


def _is_beside(name: str) -> bool:
    first = name.partition(".")[0]
    return first in _TRAINED_BESIDE or first.startswith("decoder_")


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(str(side) for side in tensor.shape) or "scalar"


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
