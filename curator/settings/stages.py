"""The stages of a run: the one list of them."""

__all__ = ["REDONE", "STAGES"]

# In the order they run; redoing one redoes those behind it.
STAGES = ("warmup", "measure", "target", "pool", "exclude", "index", "select", "pack")
# What `redo` starts anew: embeddings depend on their encoder alone, what follows depends on them all.
REDONE = {
    "warmup": STAGES,
    # What follows is made anew only where another encoder is chosen: a pool may have taken days to embed.
    "measure": ("measure",),
    "embed": ("target", "pool", "exclude", "index", "select", "pack"),
    "target": ("target", "select", "pack"),
    "pool": ("pool", "index", "select", "pack"),
    "exclude": ("exclude", "select", "pack"),
    "index": ("index", "select", "pack"),
    "select": ("select", "pack"),
    "pack": ("pack",),
}
