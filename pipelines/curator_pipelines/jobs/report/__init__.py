"""OUT/report.html: what a finished run chose, where the line fell, what was missed, as one file to look at.

A finished run directory comes in; one page for each target goes out. Nothing of the run is changed.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
