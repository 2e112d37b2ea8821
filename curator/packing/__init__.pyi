from .finish import (
    begin_packing as begin_packing,
    finish_packing as finish_packing,
    is_packed as is_packed,
    write_manifest_only as write_manifest_only,
)
from .plan import (
    OutputShard as OutputShard,
    SelectedRows as SelectedRows,
    check_packable as check_packable,
    plan_shards as plan_shards,
)
from .verify import verify_shards as verify_shards
from .write import PackedShard as PackedShard, pack_shard as pack_shard
