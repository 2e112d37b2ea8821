"""Where a run's warm-up is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curator_pipelines.config import EncodingConfig, MeasureConfig
from curator_pipelines.jobs.measure.executor import make_executor
from curator_pipelines.jobs.measure.hardware import RunHardware
from curator_pipelines.run import RunDirectory

if TYPE_CHECKING:
    from curator_pipelines.jobs.train import WorkerPlace

__all__ = ["warmup_place"]


def warmup_place(
    config: EncodingConfig | MeasureConfig, hardware: RunHardware, run: RunDirectory
) -> WorkerPlace | None:
    """One worker of the run, where these are on other machines; None for this process."""
    if hardware.is_here:
        return None
    # It brings torch, which a run over ready embeddings never needs.
    from curator_pipelines.jobs.train import WorkerPlace

    chosen = hardware.chosen
    alone = config.model_copy(update={"workers": 1})
    return WorkerPlace(
        chosen.device,
        chosen.auto,
        lambda: make_executor(alone, chosen.device, run.url, chosen.auto),
    )
