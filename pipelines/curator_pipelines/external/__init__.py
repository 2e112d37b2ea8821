"""External workers: processes that share nothing with the driver but the run directory, started and ended at will.

The driver posts tasks below OUT/external, any number of `curator work OUT` claim them, and what they answer comes back
as files. `documents` is the format, `stage_folder` the files, `executor` the driver's side, `work` a worker's.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
