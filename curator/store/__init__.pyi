from .changes import SourceChanges as SourceChanges, find_changes as find_changes
from .deny_list import (
    KEY_COLUMNS as KEY_COLUMNS,
    DenyList as DenyList,
    LikelyKeys as LikelyKeys,
    read_deny_list as read_deny_list,
    spellings as spellings,
)
from .done_mark import DoneMark as DoneMark, FileSizes as FileSizes
from .import_embeddings import check_ready as check_ready, import_part as import_part, ready_shape as ready_shape
from .ledger import Account as Account, LedgerLines as LedgerLines, write_quarantine as write_quarantine
from .ledger_lines import Ledger as Ledger, line_of as line_of, line_values as line_values
from .max_bad import check_max_bad as check_max_bad
from .moves import (
    Move as Move,
    moved as moved,
    named_as_first_seen as named_as_first_seen,
    parse_moves as parse_moves,
)
from .part_reader import NamedParts as NamedParts, Part as Part, PartFiles as PartFiles, PartReader as PartReader
from .part_store import (
    PartStore as PartStore,
    identity_hash as identity_hash,
    part_of as part_of,
    unversioned as unversioned,
)
from .part_writer import PartWriter as PartWriter
from .place import Place as Place
from .renew import renew_part as renew_part
from .row_reader import RowReader as RowReader
from .stored_parts import PartListing as PartListing, StoredParts as StoredParts
