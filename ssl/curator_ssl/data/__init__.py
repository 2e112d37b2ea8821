"""From URLs to batches: index once, then every batch is arithmetic on (seed, step)."""
