"""Pictures of samples, read from their original bytes, and the contact sheets that show them.

Ids or places of images come in; thumbnails and whole files of many small images go out.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
