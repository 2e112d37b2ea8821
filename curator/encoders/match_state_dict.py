"""Fit tensors into a model whose training wrapped and named them in its own way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from curator.errors import InputError

__all__ = ["Fit", "find_fit", "fit_weights"]

# What methods train beside the backbone, under the same prefix: SwAV's prototypes, MAE's decoder, MoCo's queue.
_TRAINED_BESIDE = (
    *("fc", "head", "classifier", "projector", "projection", "projection_head", "predictor", "prediction_head"),
    *("prototypes", "decoder", "mask_token", "queue", "queue_ptr", "padding"),
)
# Of two networks in a file, the one whose features its paper uses (DINO's teacher, MoCo's query encoder),
# before any other, before moving averages of it.
_FIRST = ("teacher", "encoder_q", "online", "ema")
_LAST = ("student", "encoder_k", "momentum", "target")


@dataclass(frozen=True)
class Fit:
    """How well tensors fit a model.

    Attributes:
        tensors: those that fit, under the model's names.
        missing: the model's tensors that are not there.
        unexpected: tensors that the model has no place for.
        misshapen: tensors of another shape, with both shapes.
    """

    tensors: dict[str, torch.Tensor]
    missing: list[str]
    unexpected: list[str]
    misshapen: list[str]

    @property
    def problems(self) -> str:
        """What does not fit: counts and first names; empty if all is well."""
        problems = {"missing": self.missing, "unexpected": self.unexpected, "of another shape": self.misshapen}
        return "; ".join(f"{len(names)} {what}: {_first(names)}" for what, names in problems.items() if names)

    @property
    def share(self) -> float:
        """Share of all names on both sides that fit, to tell which model is nearest."""
        bad = len(self.missing) + len(self.unexpected) + len(self.misshapen)
        return len(self.tensors) / max(1, len(self.tensors) + bad)


def fit_weights(
    model: nn.Module, tensors: Mapping[str, torch.Tensor], *, source: str, ignore: Iterable[str] = ()
) -> None:
    """Load tensors into a model, all of them into all of it; prefixes and training heads aside.

    Args:
        model: the model without its classifier.
        tensors: name -> tensor.
        source: for messages: where they come from.
        ignore: names of modules whose tensors may be too many (the classifier that the model has no more).

    Raises:
        InputError: some are missing, too many or of another shape; the first few are named.
    """
    fit = find_fit(model, tensors, ignore)
    if fit.problems:
        raise InputError(f"{source} does not fit the encoder: {fit.problems}")
    model.load_state_dict(fit.tensors, strict=False)


def find_fit(model: nn.Module, tensors: Mapping[str, torch.Tensor], ignore: Iterable[str] = ()) -> Fit:
    """The best way to read a file's names as the model's.

    Understood are prefixes of any kind (`module.encoder_q.`, `teacher.backbone.`), and the numbers that
    modules get in `nn.Sequential(*resnet.children())`.

    Args:
        model: see `fit_weights`; may be on the meta device.
        tensors: see `fit_weights`.
        ignore: see `fit_weights`.
    """
    own = model.state_dict()
    numbers = {name: str(number) for number, (name, _) in enumerate(model.named_children())}
    best: tuple[tuple[float, int], Fit] | None = None
    for spelling in ({name: name for name in own}, {_numbered(name, numbers): name for name in own}):
        for prefix in _prefixes(next(iter(spelling)), tensors):
            fit = _fit_under(prefix, spelling, own, tensors, tuple(ignore))
            key = fit.share, -_rank(prefix)
            if best is None or key > best[0]:
                best = key, fit
    assert best is not None
    return best[1]


def _numbered(name: str, numbers: Mapping[str, str]) -> str:
    first, dot, rest = name.partition(".")
    return numbers.get(first, first) + dot + rest


def _prefixes(anchor: str, tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Whatever stands before the model's first name somewhere in the file; nothing always may."""
    found = [name.removesuffix(anchor) for name in tensors if name.endswith("." + anchor)]
    return list(dict.fromkeys(["", *found]))


def _rank(prefix: str) -> int:
    if any(word in prefix for word in _LAST):
        return 2
    return 0 if any(word in prefix for word in _FIRST) else 1


def _fit_under(
    prefix: str,
    spelling: Mapping[str, str],
    own: Mapping[str, torch.Tensor],
    tensors: Mapping[str, torch.Tensor],
    heads: tuple[str, ...],
) -> Fit:
    beside = tuple(f"{name}." for name in heads if name)
    here = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    found = {spelling[name]: value for name, value in here.items() if name in spelling}
    missing = [name for name in own if name not in found and not name.endswith("num_batches_tracked")]
    unexpected = [
        name for name in here if name not in spelling and not name.startswith(beside or "\0") and not _is_beside(name)
    ]
    misshapen = [
        f"{name} {_shape(value)} for {_shape(own[name])}"
        for name, value in found.items()
        if value.shape != own[name].shape
    ]
    fitting = {name: value for name, value in found.items() if value.shape == own[name].shape}
    return Fit(fitting, missing, unexpected, misshapen)


def _is_beside(name: str) -> bool:
    first = name.partition(".")[0]
    return first in _TRAINED_BESIDE or first.startswith("decoder_")


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(str(side) for side in tensor.shape) or "scalar"


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
