"""A finished selection, handed over to other tools: as files, as a list, for Embedding Atlas, for FiftyOne.

A run directory comes in, local or remote; nothing of it is changed. A folder goes out.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
