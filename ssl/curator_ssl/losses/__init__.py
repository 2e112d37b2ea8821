"""Losses, one a file: functions of embeddings, over all ranks.

They know no method and no setting.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
