"""Questions to a pool, a run or shards: search, why, dedup, verify, inspect, and contact sheets.

They read what other jobs wrote. Only `dedup` writes, its deny list; contact sheets go where the caller says.
"""
