"""Executors: where stages run: in this process, in worker processes, or in actors of a Ray cluster.

A stage knows no executor, an executor knows no images. One dispatcher hands tasks to workers of every kind; what a
kind of worker does differently is in `local` and `ray`. Nothing that belongs to a job comes in here.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
