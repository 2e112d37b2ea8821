"""An index of the pool: rows grouped by the lists of a coarse quantiser, and an approximate SimCore over it.

stored parts -> train_quantiser -> pieces (rows by list) -> lists to read -> SimCore rounds -> measured recall

faiss is imported here and nowhere else, and only to train the quantiser, to assign rows to its lists, and to code them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
