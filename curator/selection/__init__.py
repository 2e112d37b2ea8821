"""Which rows of a pool to choose: SimCore, its search, and the selectors it is compared with.

target rows -> find_centroids -> best_rows of the pool -> rounds -> Selection
"""

from curator.selection.centroids import find_centroids
from curator.selection.duplicates import near_excluded, no_duplicates
from curator.selection.knn import select_knn
from curator.selection.near import NearRows, directions
from curator.selection.passing import Judge, Objection, deny, first_objection
from curator.selection.pool import Pool, Progress
from curator.selection.queues import Cursors, Queues, merge
from curator.selection.rounds import DEFAULT_STOP, run_rounds
from curator.selection.scores import exact_scores
from curator.selection.search import best_rows, scan_part
from curator.selection.selection import Excluded, Refused, Rounds, Selection, StopReason
from curator.selection.several import Question, select_each
from curator.selection.simcore import objective, select_simcore
from curator.selection.spread import ScanTask, SpreadSearch, scan_parts
from curator.selection.uniform import select_random

__all__ = [
    "DEFAULT_STOP",
    "Cursors",
    "Excluded",
    "Judge",
    "NearRows",
    "Objection",
    "Pool",
    "Progress",
    "Question",
    "Queues",
    "Refused",
    "Rounds",
    "ScanTask",
    "Selection",
    "SpreadSearch",
    "StopReason",
    "best_rows",
    "deny",
    "directions",
    "exact_scores",
    "find_centroids",
    "first_objection",
    "merge",
    "near_excluded",
    "no_duplicates",
    "objective",
    "run_rounds",
    "scan_part",
    "scan_parts",
    "select_each",
    "select_knn",
    "select_random",
    "select_simcore",
]
