from .estimate import estimate_samples as estimate_samples
from .events import event_names as event_names, read_events as read_events
from .held_out_report import HeldOutReport as HeldOutReport
from .kept_arrays import KeptArrays as KeptArrays
from .log_lines import LOG_FORMATS as LOG_FORMATS, log_lines as log_lines
from .metrics import METRICS as METRICS
from .progress import (
    LAST_BAD as LAST_BAD,
    WORST_SHARDS as WORST_SHARDS,
    Reporter as Reporter,
    StageProgress as StageProgress,
    duration as duration,
)
from .progress_file import read_progress as read_progress
from .provenance import called_as as called_as
from .run_directory import (
    KEPT_SCANS as KEPT_SCANS,
    RunDirectory as RunDirectory,
    TargetDirectory as TargetDirectory,
    target_set as target_set,
)
from .run_record import RunRecord as RunRecord
from .run_watch import recorded as recorded
from .spent import Spent as Spent, spending as spending, total_use as total_use, use_in_words as use_in_words
from .stored_selection import (
    Replaced as Replaced,
    StoredSelection as StoredSelection,
    load_selection as load_selection,
    note_unreadable as note_unreadable,
    stands_for as stands_for,
    store_selection as store_selection,
    unreadable_shards as unreadable_shards,
)
from .training_record import TrainingRecord as TrainingRecord, is_training as is_training
from .words import REASONS as REASONS, STOP_REASONS as STOP_REASONS, verdict_in_words as verdict_in_words
