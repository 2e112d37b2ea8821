"""From a source to a stored part: read, decode, encode, in one straight line.

    source -> samples -> pixels, in threads -> batches of one shape -> vectors
    a source over which a worker died -> crash probe: each image alone, in a process that may die
    before the first source -> fixed batch: whether this machine calculates as the others do

Uses sources, images, encoders and the store. Knows neither selections nor executors.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
