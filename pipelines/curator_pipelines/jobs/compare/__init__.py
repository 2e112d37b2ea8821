"""What two or more finished selections have in common, what only one has, and how well each serves its target.

Run directories come in, local or remote; nothing of them is changed. Numbers and one page go out.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
