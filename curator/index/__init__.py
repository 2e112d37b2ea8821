"""An index of the pool: rows grouped by the lists of a coarse quantiser, and an approximate SimCore over it.

stored parts -> train_quantiser -> pieces (rows by list) -> lists to read -> SimCore rounds -> measured recall

faiss is imported here and nowhere else, and only to train the quantiser, to assign rows to its lists, and to code them.
"""

from curator.index.codec import Codec, train_codec
from curator.index.pieces import IndexPiece, build_piece
from curator.index.quantiser import (
    TRAIN_ROWS,
    Factory,
    Quantiser,
    default_lists,
    import_faiss,
    parse_factory,
    sample_rows,
    train_quantiser,
)
from curator.index.recall import Recall
from curator.index.scan import ListTask, ScanLists, scan_lists
from curator.index.select import IndexSearch, select_ivf
from curator.index.store import IndexStore, PieceTask

__all__ = [
    "TRAIN_ROWS",
    "Codec",
    "Factory",
    "IndexPiece",
    "IndexSearch",
    "IndexStore",
    "ListTask",
    "PieceTask",
    "Quantiser",
    "Recall",
    "ScanLists",
    "build_piece",
    "default_lists",
    "import_faiss",
    "parse_factory",
    "sample_rows",
    "scan_lists",
    "select_ivf",
    "train_codec",
    "train_quantiser",
]
