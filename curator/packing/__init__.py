"""Packing: a selection becomes new shards of the original bytes, and a manifest.

    SelectedRows -> plan_shards -> [OutputShard] -> pack_shard, each alone -> finish

The driver asks `is_current`, else `prepare`s, has every unit that is not done packed, and `finish`es.
"""
