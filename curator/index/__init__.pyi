from .codec import Codec as Codec, train_codec as train_codec
from .contents import Contents as Contents
from .merge import (
    MOST_RUNS as MOST_RUNS,
    MergeTask as MergeTask,
    merge_lists as merge_lists,
    merge_tasks as merge_tasks,
    next_merge as next_merge,
)
from .pieces import IndexPiece as IndexPiece, build_piece as build_piece
from .quantiser import (
    TRAIN_ROWS as TRAIN_ROWS,
    Factory as Factory,
    default_lists as default_lists,
    import_faiss as import_faiss,
    parse_factory as parse_factory,
    sample_rows as sample_rows,
    train_quantiser as train_quantiser,
)
from .scan import (
    ListTask as ListTask,
    ScanLists as ScanLists,
    piece_opener as piece_opener,
    scan_lists as scan_lists,
)
from .select import select_ivf as select_ivf
from .store import IndexStore as IndexStore, PieceTask as PieceTask
