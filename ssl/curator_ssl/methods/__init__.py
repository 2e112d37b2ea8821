"""Methods of self-supervised learning: each owns its heads, loss and momentum copies; the loop owns the step.

A backbone and the method's own options come in, a module with a loss comes out. `METHODS` names the built-in ones, and
finds anyone's own. Cheap to import: no torch here.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
