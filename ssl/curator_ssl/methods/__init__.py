"""Methods of self-supervised learning: each owns its heads, loss and momentum copies; the loop owns the step.

A backbone and the method's own options come in, a module with a loss comes out. `METHODS` names the built-in ones, and
finds anyone's own. Cheap to import: no torch here.
"""

from curator_ssl.methods.options import describe_options
from curator_ssl.methods.table import METHODS, make_method, method_options

__all__ = ["METHODS", "describe_options", "make_method", "method_options"]
