from .calibrate import CalibrateStage as CalibrateStage, Measured as Measured
from .embed import (
    EmbedStage as EmbedStage,
    EmbedTask as EmbedTask,
    EncoderSettings as EncoderSettings,
    kills_workers as kills_workers,
)
from .index import IndexStage as IndexStage, ListStage as ListStage, MergeStage as MergeStage
from .keys import KeyStage as KeyStage, KeyTask as KeyTask
from .measure import MeasureStage as MeasureStage, MeasureTask as MeasureTask, SampleBlock as SampleBlock
from .pack import PackStage as PackStage
from .renew import RenewStage as RenewStage, RenewTask as RenewTask
from .scan import ScanStage as ScanStage
