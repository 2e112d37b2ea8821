"""What can be swapped: built-in things of one kind by name, and anyone's own from a package or a file.

A table knows names and where things are; it imports one only when it is asked for. It knows no images and no pools.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
