"""Which rows of a pool to choose: SimCore, the selectors it is compared with, and the door for anyone's own.

    target rows -> find_centroids -> top-k of every centroid -> rounds and filters -> Selection

Uses `search` for scores. Knows rows and ids; neither images nor where rows are stored come in here.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
