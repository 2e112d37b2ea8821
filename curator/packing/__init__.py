"""Packing: a selection becomes new shards of the original bytes, and a manifest.

    SelectedRows -> plan_shards -> [OutputShard] -> pack_shard, each alone -> finish_packing

The driver asks `is_packed`. If that is false it calls `begin_packing`, has every output shard packed that is not
done, and calls `finish_packing`. Reads the pool's `store` and the source shards; knows no selector and no encoder.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
