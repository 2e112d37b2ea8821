from .best_similarity import (
    best_similarity as best_similarity,
    nearest as nearest,
    nearest_in_block as nearest_in_block,
)
from .distributed_scan import (
    DistributedScan as DistributedScan,
    Keeper as Keeper,
    KeptScan as KeptScan,
    Question as Question,
    Scanned as Scanned,
    ScanTask as ScanTask,
    scan_parts as scan_parts,
)
from .hash_order import first_in_hash_order as first_in_hash_order, priorities as priorities
from .memory_pool import MemoryPool as MemoryPool, as_rows as as_rows
from .passes import PassProgress as PassProgress
from .pool import (
    Floats as Floats,
    Pool as Pool,
    check_finite as check_finite,
    check_rows as check_rows,
)
from .query_scan import QueryScan as QueryScan, watched as watched
from .row_scan import CentroidScan as CentroidScan, RowScan as RowScan, scan_pool as scan_pool
from .scan import (
    BLOCK_ROWS as BLOCK_ROWS,
    best_rows as best_rows,
    blocks as blocks,
    check_centroids as check_centroids,
    ranked as ranked,
    scan_block as scan_block,
    scan_part as scan_part,
    shortlist as shortlist,
)
from .scoring import (
    exact_pairs as exact_pairs,
    exact_scores as exact_scores,
    margin as margin,
    propose as propose,
    row_norms as row_norms,
    sum_in_order as sum_in_order,
)
from .similarity_join import Pairs as Pairs, SimilarityJoin as SimilarityJoin, directions as directions
from .top_k import Cursors as Cursors, TopK as TopK, TopKMerger as TopKMerger, merge as merge
