from . import npy as npy, parquet as parquet, part_files as part_files, schemas as schemas, storage as storage
from .claim import (
    EXTERNAL as EXTERNAL,
    LAPSE_SECONDS as LAPSE_SECONDS,
    TASKS as TASKS,
    Claim as Claim,
    ClaimEnded as ClaimEnded,
    end_claims_of as end_claims_of,
)
from .conditional import (
    can_put_if as can_put_if,
    place_of as place_of,
    put_if as put_if,
    was_refused as was_refused,
)
from .faults import (
    Fault as Fault,
    denied_is_input as denied_is_input,
    fault_of as fault_of,
    lacks_credentials as lacks_credentials,
    reason_of as reason_of,
)
from .main_module import main_module_hidden as main_module_hidden
from .names import (
    printable as printable,
    public_name as public_name,
    public_text as public_text,
    public_values as public_values,
)
from .part_files import FileHash as FileHash
from .removal import OWNER as OWNER
from .run_ahead import run_ahead as run_ahead
from .run_lock import Owner as Owner, current_holder as current_holder, owned as owned
from .schemas import FORMAT_VERSION as FORMAT_VERSION, SELECTED as SELECTED
from .scratch import scratch_folder as scratch_folder
from .storage import Stat as Stat
from .traffic import Traffic as Traffic, count_traffic as count_traffic, traffic as traffic
from .urls import absolute as absolute, expand as expand
