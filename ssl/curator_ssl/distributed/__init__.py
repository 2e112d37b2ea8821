"""Processes that train together: which of them this is, and what they say to each other.

One module knows the rank (`ranks`); tensors that carry gradients across ranks are in `collectives`. No image and no
setting comes in here.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
