from .compare_run import run_compare as run_compare
from .comparison import Comparison as Comparison
