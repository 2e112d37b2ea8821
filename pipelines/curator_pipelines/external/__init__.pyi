from .executor import ExternalExecutor as ExternalExecutor
from .work import work as work
