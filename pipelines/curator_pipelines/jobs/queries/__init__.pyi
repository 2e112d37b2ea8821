from .dedup import run_dedup as run_dedup
from .inspect import inspect_sources as inspect_sources
from .run_events import inspect_events as inspect_events
from .run_ledger import inspect_ledger as inspect_ledger
from .run_state import inspect_run as inspect_run, is_run as is_run
from .search import run_search as run_search
from .verify_run import verify as verify
from .why import explain as explain
