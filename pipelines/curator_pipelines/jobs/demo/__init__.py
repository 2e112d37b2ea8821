"""The demo: its images, and an ordinary selection from them.

What it shows must be true of every run: it calls the same job as `curator select`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
