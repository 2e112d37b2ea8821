from .report_run import (
    ReportResult as ReportResult,
    run_report as run_report,
    standing_reports as standing_reports,
    write_reports as write_reports,
)
