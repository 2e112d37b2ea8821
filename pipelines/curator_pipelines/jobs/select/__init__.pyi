from . import embed as embed
from .embed import EmbedJob as EmbedJob
from .embed_pool import run_embed as run_embed
from .index import run_index as run_index
from .pack import Packed as Packed, run_pack as run_pack
from .relocate import run_relocate as run_relocate
from .select_run import plan_select as plan_select, run_select as run_select
from .summary import EmbedSummary as EmbedSummary, SelectSummary as SelectSummary
