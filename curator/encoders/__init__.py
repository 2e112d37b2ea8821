"""Encoders: one file for each family of models, and one way to load and to use them.

Uses `images` for preprocessing and `io` for files. Knows no source and no stored part.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
