"""From the bytes of an image to the pixels that an encoder takes.

Knows no file, no source and no encoder. It imports nothing of curator but `errors`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
