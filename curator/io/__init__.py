"""Bytes and their names: storage behind one door, file formats, and who owns a run directory.

What lives here knows no image and no embedding. It imports nothing of curator but `errors`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
