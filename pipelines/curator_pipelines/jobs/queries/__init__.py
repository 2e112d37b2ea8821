"""Questions to a pool, a run or shards: search, why, dedup, verify, inspect, and contact sheets.

They read what other jobs wrote. Only `dedup` writes, its deny list; contact sheets go where the caller says.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
