"""Numbers of the driver as metrics of the Ray cluster that it is connected to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["ray_gauges"]

Values = Mapping[str, list[tuple[dict[str, str], float]]]


def ray_gauges(helps: Mapping[str, str], labels: Mapping[str, tuple[str, ...]]) -> Callable[[Values], None] | None:
    """Make a gauge of each name; returns what sets them, or None while this process is connected to no cluster.

    A gauge that had a value and has none now is set to 0, since Ray would go on with the last one.

    Args:
        helps: name -> what it is.
        labels: name -> the names of its labels.
    """
    # Not imported here: a run without Ray must not pay for it.
    ray: Any = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return None
    from ray.util.metrics import Gauge

    gauges = {name: Gauge(name, description=text, tag_keys=labels[name]) for name, text in helps.items()}
    told: dict[str, dict[tuple[tuple[str, str], ...], None]] = {name: {} for name in helps}

    def set_all(values: Values) -> None:
        for name, samples in values.items():
            now = {tuple(tags.items()): value for tags, value in samples}
            for tags in told[name]:
                now.setdefault(tags, 0.0)
            for tags, value in now.items():
                gauges[name].set(value, tags=dict(tags))
            told[name] = dict.fromkeys(now)

    return set_all
