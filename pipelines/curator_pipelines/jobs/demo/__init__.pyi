from .demo_data import build_demo_data as build_demo_data
from .demo_run import run_demo as run_demo
