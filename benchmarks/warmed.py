"""The groups as a warm-up on each one's own target shows them: it is trained at its defaults, and embeds the pool."""

from __future__ import annotations

from pathlib import Path

from benchmarks.altered_targets import write_photos
from benchmarks.groups import GROCERIES, OWN_TARGETS, Group, embedding_runs, load_groups, read_target, target_photos
from curator_pipelines.config import EmbedConfig, WarmupConfig, build
from curator_pipelines.jobs.select import run_embed
from curator_pipelines.jobs.train import run_warmup
from curator_pipelines.run import Reporter

__all__ = ["warmed"]


def warmed(name: str, tiny: str, grocery: str, work: Path, seed: int) -> tuple[Group, str]:
    """A group, embedded by a warm-up on its target; what is there already is not done again.

    Takes some two minutes of one core to train, and as long to embed a pool of 30,000 small images.

    Args:
        name: of the group.
        tiny: TINY of `benchmarks.groups`.
        grocery: GROCERY of it.
        work: a folder for this group alone; becomes its EMBEDDINGS, and keeps the warm-up's run.
        seed: of the warm-up.

    Returns:
        the group, and the encoder that embedded it.
    """
    photos, run = work / "target.tar", work / "run"
    if not photos.exists():
        write_photos(photos, read_target(name, tiny, grocery))
    run_warmup(build(WarmupConfig, {"target": [str(photos)], "out": str(run), "seed": seed}), Reporter())
    encoder = f"checkpoint:{run}/encoder.pt"
    shards = embedding_runs(tiny, grocery)
    for part in _embedded_runs(name):
        config = {"pool": [shards[part]], "out": str(work / part), "encoder": encoder}
        run_embed(build(EmbedConfig, config), Reporter())
    (group,) = load_groups(tiny, grocery, str(work), names=[name])
    if list(target_photos(group, str(work))) != read_target(name, tiny, grocery):
        raise ValueError(f"{work}: the photos warmed up on are not the target's")
    return group, encoder


def _embedded_runs(name: str) -> list[str]:
    if name in GROCERIES:
        return ["grocery", "grocery-target"]
    return ["pool", name] if name in OWN_TARGETS else ["pool"]
