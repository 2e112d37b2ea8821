"""The settings of every command, each declared once: from it come flag, config key, check, help and identity.

Models only: no job comes in here, and nothing that takes long to import.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
