from .dispatcher import Loss as Loss, WorkerHandle as WorkerHandle, dispatch as dispatch
from .failures import (
    Failure as Failure,
    FailuresInARow as FailuresInARow,
    are_alike as are_alike,
    cannot_open as cannot_open,
    dead_at_start as dead_at_start,
    summary_of as summary_of,
)
from .fitness import Needs as Needs, cluster_in_words as cluster_in_words
from .in_process import InProcessExecutor as InProcessExecutor
from .local import LocalExecutor as LocalExecutor, usable_cpus as usable_cpus
from .local_handle import ProcessHandle as ProcessHandle
from .messages import (
    Kind as Kind,
    body_of as body_of,
    encode as encode,
    failure_in as failure_in,
    kind_of as kind_of,
    outcome_in as outcome_in,
)
from .patience import Patience as Patience
from .protocol import (
    MAX_ATTEMPTS as MAX_ATTEMPTS,
    MAX_DEATHS_AT_START as MAX_DEATHS_AT_START,
    Executor as Executor,
    Outcome as Outcome,
    Stage as Stage,
    Task as Task,
    WorkerContext as WorkerContext,
    as_tasks as as_tasks,
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
