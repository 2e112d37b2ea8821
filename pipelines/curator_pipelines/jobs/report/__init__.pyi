from .charts import score_curve as score_curve
from .line import chosen_picture as chosen_picture
from .plane import place as place
from .render import Page as Page, render as render
from .report_run import (
    ReportResult as ReportResult,
    run_report as run_report,
    standing_reports as standing_reports,
    write_reports as write_reports,
)
from .svg import (
    INK as INK,
    LINE as LINE,
    SERIES as SERIES,
    add_legend as add_legend,
    as_svg as as_svg,
    new_axes as new_axes,
    stand_in as stand_in,
)
from .target_record import (
    TargetRecord as TargetRecord,
    in_hash_order as in_hash_order,
    read_target as read_target,
)
