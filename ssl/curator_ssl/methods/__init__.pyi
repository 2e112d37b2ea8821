from .base import Method as Method
from .options import describe_options as describe_options
from .table import METHODS as METHODS, make_method as make_method, method_options as method_options
