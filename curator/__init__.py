"""Find, in a huge uncurated pool of images, those that help a narrow-domain self-supervised model.

The functions `select`, `embed`, `pack` and `compare` do what the commands of these names do; `select_rows` selects
among vectors in memory. Everything else in this package is formats and algorithms: reading shards, decoding, encoding,
the SimCore selection (Kim, Bae, Yun: "Coreset Sampling from Open-Set for Fine-Grained Self-Supervised Learning", CVPR
2023) and packing. Executors, jobs and the command line live in `curator_pipelines`, training in `curator_ssl`.

Importing it is cheap: a name is imported when it is first used. Its types are in `__init__.pyi`.
"""

from importlib import import_module
from typing import Any

from curator.errors import CuratorError, CuratorWarning, InputError, TooManyBad, UnusableInput

__version__ = "0.1.0"

# By name, and not by an import: this package may not import `curator_pipelines`, which is built on it.
_FOUND_IN = {
    "Comparison": "curator_pipelines.api",
    "Coreset": "curator_pipelines.api",
    "EmbedSummary": "curator_pipelines.api",
    "MemoryPool": "curator.search.memory_pool",
    "PackResult": "curator_pipelines.api",
    "SelectResult": "curator_pipelines.api",
    "Selection": "curator.selection.result",
    "compare": "curator_pipelines.api",
    "embed": "curator_pipelines.api",
    "load_encoder": "curator.encoders.load",
    "pack": "curator_pipelines.api",
    "select": "curator_pipelines.api",
    "select_rows": "curator_pipelines.api",
}

__all__ = [
    "Comparison",
    "Coreset",
    "CuratorError",
    "CuratorWarning",
    "EmbedSummary",
    "InputError",
    "MemoryPool",
    "PackResult",
    "SelectResult",
    "Selection",
    "TooManyBad",
    "UnusableInput",
    "__version__",
    "compare",
    "embed",
    "load_encoder",
    "pack",
    "select",
    "select_rows",
]


def __getattr__(name: str) -> Any:
    if name not in _FOUND_IN:
        raise AttributeError(f"module 'curator' has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(_FOUND_IN[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
