"""Which rows of a pool to choose: SimCore, its search, and the selectors it is compared with.

target rows -> find_centroids -> best_rows of the pool -> rounds -> Selection
"""

from curator.search.distributed_scan import DistributedScan, ScanTask, scan_parts
from curator.search.exact_scores import exact_scores
from curator.search.pool import Pool
from curator.search.scan import best_rows, scan_part
from curator.search.similarity_join import SimilarityJoin, directions
from curator.search.top_k import Cursors, TopK, merge
from curator.selection.centroids import find_centroids
from curator.selection.filters import Filter, Rejection, deny, first_rejection
from curator.selection.knn import select_knn
from curator.selection.multi_target import Question, select_each
from curator.selection.near_duplicate_filters import near_evaluation, no_duplicates
from curator.selection.random import select_random
from curator.selection.result import RefusedRound, Rounds, Selection, Skipped, StopReason
from curator.selection.rounds import DEFAULT_STOP, run_rounds
from curator.selection.simcore import objective, select_simcore

__all__ = [
    "DEFAULT_STOP",
    "Cursors",
    "DistributedScan",
    "Filter",
    "Pool",
    "Question",
    "RefusedRound",
    "Rejection",
    "Rounds",
    "ScanTask",
    "Selection",
    "SimilarityJoin",
    "Skipped",
    "StopReason",
    "TopK",
    "best_rows",
    "deny",
    "directions",
    "exact_scores",
    "find_centroids",
    "first_rejection",
    "merge",
    "near_evaluation",
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
