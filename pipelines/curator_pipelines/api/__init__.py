"""The Python functions behind `import curator`: the jobs of the command line, and selection among rows in memory.

What comes in are settings by name; they are checked by the models in `curator_pipelines.config`. Users import these
names from `curator`.
"""

from curator_pipelines.api.results import Coreset, PackResult, SelectResult
from curator_pipelines.api.rows import select_rows
from curator_pipelines.api.runs import compare, embed, pack, select
from curator_pipelines.jobs.compare import Comparison
from curator_pipelines.jobs.select import EmbedSummary

__all__ = [
    "Comparison",
    "Coreset",
    "EmbedSummary",
    "PackResult",
    "SelectResult",
    "compare",
    "embed",
    "pack",
    "select",
    "select_rows",
]
