"""Self-supervised training on selected shards. Never imports ray or faiss.

The loop is `train_loop`; samples, methods, losses, outputs and probes have rooms of their own.
"""
