"""What is stored about the samples of a run: parts, rows by id, the ledger, and deny lists.

Parts come from the embedding of a source or from ready embeddings. Uses sources and io; knows no encoder and no
selection.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
