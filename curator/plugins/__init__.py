"""What can be swapped: built-in things of one kind by name, and anyone's own from a package or a file.

A table knows names and where things are; it imports one only when it is asked for. It knows no images and no pools.
"""

from curator.plugins.identity import plugin_identity
from curator.plugins.search_path import add_plugin_folder, plugin_folder
from curator.plugins.table import Plugin, Table

__all__ = ["Plugin", "Table", "add_plugin_folder", "plugin_folder", "plugin_identity"]
