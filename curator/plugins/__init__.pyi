from .identity import plugin_identity as plugin_identity
from .packages import require_package as require_package
from .search_path import add_plugin_folder as add_plugin_folder, plugin_folder as plugin_folder
from .table import Table as Table
