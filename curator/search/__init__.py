"""How rows are scored: exactly, to the last bit, in bounded memory, on one machine or on many.

A matrix product proposes, `scoring` decides. Knows rows, centroids and bounds; what is taken is `selection`'s business.
It imports nothing of curator but `types` and `errors`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
