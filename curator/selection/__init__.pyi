from .centroids import expected_centroids as expected_centroids, find_centroids as find_centroids
from .csls import NewScan as NewScan, select_csls as select_csls
from .csls_choice import ScanRows as ScanRows
from .csls_sample import PoolSample as PoolSample
from .csls_scan import CslsScan as CslsScan
from .duplicate_filter import (
    DUPLICATE as DUPLICATE,
    NEAR_DUPLICATE as NEAR_DUPLICATE,
    no_duplicates as no_duplicates,
)
from .filters import Filter as Filter, Rejection as Rejection, deny as deny, first_rejection as first_rejection
from .finds_yours import (
    CHANCE as CHANCE,
    beats_chance as beats_chance,
    is_better as is_better,
    pool_ranks as pool_ranks,
)
from .frontier import first_k as first_k, k_limit as k_limit
from .half_whitened import HalfWhitened as HalfWhitened
from .held_out import HeldOut as HeldOut, hold_out as hold_out
from .knn import select_knn as select_knn
from .multi_target import select_each as select_each
from .near_duplicate_filters import (
    NEAR_EVALUATION as NEAR_EVALUATION,
    ReadRows as ReadRows,
    near_evaluation as near_evaluation,
)
from .not_chosen import NextRows as NextRows, Skipped as Skipped
from .own_images import (
    LOOKS_OWN as LOOKS_OWN,
    OWN_IMAGE as OWN_IMAGE,
    OWN_REASONS as OWN_REASONS,
    OwnImages as OwnImages,
    target_copies as target_copies,
)
from .pool_dedup import Repeats as Repeats, find_near_duplicates as find_near_duplicates, pool_clusters as pool_clusters
from .random import select_random as select_random
from .ranking import Ranking as Ranking
from .result import (
    RefusedRound as RefusedRound,
    RoundLine as RoundLine,
    Rounds as Rounds,
    Selection as Selection,
    StopReason as StopReason,
    Threshold as Threshold,
)
from .rounds import run_rounds as run_rounds
from .rules import Rules as Rules, no_filter as no_filter
from .selectors import (
    SELECTOR_SETTINGS as SELECTOR_SETTINGS,
    SELECTORS as SELECTORS,
    Request as Request,
    Search as Search,
    Selector as Selector,
    find_selector as find_selector,
)
from .simcore import objective as objective, select_simcore as select_simcore
from .verdict import (
    LEAST_SHARE as LEAST_SHARE,
    Bound as Bound,
    Nearest as Nearest,
    Verdict as Verdict,
    nearest_rows as nearest_rows,
    query_rows as query_rows,
    query_scan as query_scan,
    verdict_of as verdict_of,
)
