"""Stages: what is done with one task, for any executor.

A stage is pickled to workers and builds there what is costly. It holds settings; no progress is drawn here.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
