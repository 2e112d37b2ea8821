from .encoder_first import plan_encoder as plan_encoder, with_encoder as with_encoder
from .encoding import (
    Encoding as Encoding,
    Encodings as Encodings,
    choose_encodings as choose_encodings,
    provenance as provenance,
)
from .executor import executor_begun as executor_begun, make_executor as make_executor, own_executor as own_executor
from .measure_run import MeasureResult as MeasureResult, run_measure as run_measure
from .run_sources import RunSources as RunSources, find_run_sources as find_run_sources
