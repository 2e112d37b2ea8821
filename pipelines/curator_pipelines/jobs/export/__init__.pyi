from .export_run import Exported as Exported, run_export as run_export
