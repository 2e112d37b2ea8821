"""The main line: find sources, choose the encoder, embed, index, choose, pack; and the plan of it.

Settings come in, summaries go out. What is done with one task is in `stages`, where it is done in `executors`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
