"""The text tower of an open_clip model: words to the vectors that its image tower is compared with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from curator.encoders.encoder import hash_tensors
from curator.encoders.open_clip_models import create_whole
from curator.encoders.spec import parse_spec
from curator.errors import InputError, Use

__all__ = ["load_text_encoder"]


def load_text_encoder(spec: str, weights: str | None) -> tuple[Callable[[str], NDArray[np.float32]], str]:
    """Load the text tower that belongs to an image encoder.

    Args:
        spec: the encoder that the images were embedded with, `open_clip:MODEL/PRETRAINED`.
        weights: see `load_encoder`.

    Returns:
        a function of words to float32 (dim,), of unit length, on the CPU; and the hash of the image tower of the
        same model, to compare with the hash of the images' encoder.

    Raises:
        InputError: the encoder is not one of open_clip, or cannot be loaded.
    """
    parsed = parse_spec(spec)
    if parsed.family != "open_clip":
        raise InputError(
            f"words need images that were embedded by an open_clip encoder, not by {spec}",
            field="text",
            advice=Use("image"),
        )
    import open_clip

    model = create_whole(parsed, weights).float().eval().requires_grad_(False)
    tokenize = open_clip.get_tokenizer(parsed.model)

    def encode(words: str) -> NDArray[np.float32]:
        with torch.inference_mode():
            features = model.encode_text(tokenize([words]))[0].double().numpy()
        return np.asarray(features / np.linalg.norm(features), np.float32)

    return encode, hash_tensors(model.visual)
