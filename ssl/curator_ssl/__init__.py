"""Self-supervised training on selected shards. Never imports ray or faiss."""
