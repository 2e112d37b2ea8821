from .collectives import (
    all_gather as all_gather,
    all_gather_plain as all_gather_plain,
    sum_over_ranks as sum_over_ranks,
)
from .ranks import (
    PATIENCE as PATIENCE,
    RankGroup as RankGroup,
    is_first as is_first,
    is_launched as is_launched,
    join as join,
    rank as rank,
    synchronise_norms as synchronise_norms,
    world_size as world_size,
)
