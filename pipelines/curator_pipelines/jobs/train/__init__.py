"""Training as jobs: a warm-up, a run of `curator train`, a probe. Here, or in processes of their own.

Settings come in, summaries go out; the loop itself lives in `curator_ssl`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
