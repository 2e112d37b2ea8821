from .deny_list import DenyList as DenyList, read_deny_list as read_deny_list, spellings as spellings
from .import_embeddings import check_ready as check_ready, import_part as import_part, ready_shape as ready_shape
from .ledger import Account as Account, LedgerLines as LedgerLines, write_quarantine as write_quarantine
from .max_bad import check_max_bad as check_max_bad
from .part_reader import Part as Part, PartReader as PartReader
from .part_store import (
    DoneMark as DoneMark,
    PartStore as PartStore,
    difference as difference,
    identity_hash as identity_hash,
    unversioned as unversioned,
)
from .row_reader import RowReader as RowReader
from .stored_parts import PartListing as PartListing, StoredParts as StoredParts
