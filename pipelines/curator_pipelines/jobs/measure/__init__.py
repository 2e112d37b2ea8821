"""What a run begins with: what it was given, where it works, and the encoder, measured on the user's own images.

Settings come in; sources, an executor, encodings and a choice that is kept go out. Nothing is embedded to stay.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
