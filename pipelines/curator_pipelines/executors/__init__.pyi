from .failures import FailuresInARow as FailuresInARow
from .fitness import Needs as Needs
from .in_process import InProcessExecutor as InProcessExecutor
from .local import LocalExecutor as LocalExecutor, usable_cpus as usable_cpus
from .patience import Patience as Patience
from .protocol import (
    MAX_ATTEMPTS as MAX_ATTEMPTS,
    Executor as Executor,
    Outcome as Outcome,
    Task as Task,
    WorkerContext as WorkerContext,
)
from .ray import RayExecutor as RayExecutor
from .ray_address import ray_address as ray_address
from .ray_cluster import Cluster as Cluster, Node as Node, connect as connect
from .ray_demand import Demand as Demand
from .ray_metrics import ray_gauges as ray_gauges
from .ray_survey import Survey as Survey, check_shared as check_shared
from .threads import prepare_threads as prepare_threads
from .usage import USAGE as USAGE, usage_so_far as usage_so_far
from .watch import (
    TaskEnd as TaskEnd,
    Watcher as Watcher,
    WorkerState as WorkerState,
    note_event as note_event,
    watched_by as watched_by,
)
