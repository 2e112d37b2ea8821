"""How many threads numeric libraries start in this process, and how these wait for each other."""

from __future__ import annotations

import os

__all__ = ["prepare_threads"]

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
SPINS = "1000"


def prepare_threads(cpus: int | None = None) -> None:
    """Set the environment variables that torch and BLAS read when they are imported; call it before that.

    Args:
        cpus: threads of each library; None leaves that to them.
    """
    if cpus is not None:
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(cpus)))
    # A model's threads would wait for each other by spinning through 300,000 rounds, on cores that decoders and loaders
    # need: less embedding by a sixth, less training by an eighth. This is what libgomp itself takes where it knows
    # of more threads than cores.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
