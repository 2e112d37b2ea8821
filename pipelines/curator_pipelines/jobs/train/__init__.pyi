from .launch_worker import WorkerPlace as WorkerPlace
from .probe import run_probe as run_probe
from .train_run import run_train as run_train
from .warmup import (
    ARCHITECTURE as ARCHITECTURE,
    run_warmup as run_warmup,
    untrained_twin as untrained_twin,
    warm_up as warm_up,
)
