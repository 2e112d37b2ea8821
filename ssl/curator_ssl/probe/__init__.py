"""Probes: how much a frozen, or a briefly fine-tuned, encoder knows about labelled classes.

Functions of arrays, which the training loop, the command and the benchmarks call alike.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
