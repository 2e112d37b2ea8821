"""From URLs to batches: every sample is found once, then every batch is arithmetic on (seed, step).

URLs and settings of the order come in, batches of augmented views go out; no network and no method comes in here.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
