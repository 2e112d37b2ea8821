"""A run while it goes on and after it: its directory, its stored selection, its progress and estimates.

Jobs use it; it starts no work of its own and knows neither executors nor the command line.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
