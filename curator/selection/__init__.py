"""Which rows of a pool to choose: SimCore, the selectors it is compared with, and the door for anyone's own.

target rows -> find_centroids -> best_rows of the pool -> rounds -> Selection
"""

from curator.search.distributed_scan import DistributedScan, ScanTask, scan_parts
from curator.search.pool import Pool
from curator.search.scan import best_rows, scan_part
from curator.search.scoring import exact_scores
from curator.search.similarity_join import SimilarityJoin, directions
from curator.search.top_k import Cursors, TopK, merge
from curator.selection.centroids import find_centroids
from curator.selection.filters import Filter, Rejection, deny, first_rejection
from curator.selection.knn import select_knn
from curator.selection.multi_target import select_each
from curator.selection.near_duplicate_filters import near_evaluation, no_duplicates
from curator.selection.random import select_random
from curator.selection.ranking import Ranking
from curator.selection.result import RefusedRound, Rounds, Selection, Skipped, StopReason
from curator.selection.rounds import run_rounds
from curator.selection.rules import Rules
from curator.selection.selectors import SELECTORS, Request, Selector, find_selector
from curator.selection.simcore import objective, select_simcore

__all__ = [
    "SELECTORS",
    "Cursors",
    "DistributedScan",
    "Filter",
    "Pool",
    "Ranking",
    "RefusedRound",
    "Rejection",
    "Request",
    "Rounds",
    "Rules",
    "ScanTask",
    "Selection",
    "Selector",
    "SimilarityJoin",
    "Skipped",
    "StopReason",
    "TopK",
    "best_rows",
    "deny",
    "directions",
    "exact_scores",
    "find_centroids",
    "find_selector",
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
