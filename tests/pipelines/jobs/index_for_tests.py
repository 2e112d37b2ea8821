"""`curator index --out OUT --factory FACTORY` with a shard a part, held in the middle: to be killed."""

import sys

from jobs_for_tests import HeldIndexStage

from curator.index import store
from curator_pipelines.config.select import IndexConfig, build
from curator_pipelines.jobs.select import index
from curator_pipelines.run.progress import Reporter

if __name__ == "__main__":
    store.PIECE_BYTES = 1
    index.IndexStage = HeldIndexStage  # type: ignore[misc]
    index.run_index(build(IndexConfig, {"out": sys.argv[1], "factory": sys.argv[2]}), Reporter())
