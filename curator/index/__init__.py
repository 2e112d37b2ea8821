"""One index, many questions: the pool's rows grouped by lists of a coarse quantiser, and an approximate SimCore.

stored parts -> train -> index shards (rows by list) -> lists worth reading -> SimCore rounds -> recall, measured

faiss is imported here and nowhere else, and only to train the quantiser, to assign rows to its lists, and to code them.
"""

from curator.index.codec import Codec, train_codec
from curator.index.quantiser import Factory, Quantiser, default_lists, parse_factory, sample_rows, train
from curator.index.recall import Recall
from curator.index.scan import ListScan, Scan, scan_lists
from curator.index.select import IndexSearch, select_ivf
from curator.index.shards import IndexPiece, build_shard
from curator.index.store import IndexStore, PiecePlan

__all__ = [
    "Codec",
    "Factory",
    "IndexPiece",
    "IndexSearch",
    "IndexStore",
    "ListScan",
    "PiecePlan",
    "Quantiser",
    "Recall",
    "Scan",
    "build_shard",
    "default_lists",
    "parse_factory",
    "sample_rows",
    "scan_lists",
    "select_ivf",
    "train",
    "train_codec",
]
