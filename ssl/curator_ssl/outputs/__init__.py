"""What a training run writes into its run directory: checkpoint, encoder, metrics, and the samples left out.

The loop's values come in; nothing here decides what the next step does. Only the first rank writes.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
