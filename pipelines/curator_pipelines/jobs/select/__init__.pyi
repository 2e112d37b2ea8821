from . import embed as embed
from .embed import EmbedJob as EmbedJob
from .embed_pool import run_embed as run_embed
from .encoding import Encoding as Encoding
from .index import run_index as run_index
from .measure import MeasureResult as MeasureResult, run_measure as run_measure
from .pack import Packed as Packed, run_pack as run_pack
from .select_run import plan_select as plan_select, run_select as run_select
from .summary import EmbedSummary as EmbedSummary, SelectSummary as SelectSummary
