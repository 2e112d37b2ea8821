from .identity import identity_settings as identity_settings
from .measure import MeasureConfig as MeasureConfig
from .presets import PRESETS as PRESETS
from .queries import (
    CompareConfig as CompareConfig,
    DedupConfig as DedupConfig,
    DemoConfig as DemoConfig,
    ExportConfig as ExportConfig,
    InspectConfig as InspectConfig,
    RelocateConfig as RelocateConfig,
    ReportConfig as ReportConfig,
    SearchConfig as SearchConfig,
    SubmitConfig as SubmitConfig,
    VerifyConfig as VerifyConfig,
)
from .run import AUTO as AUTO, WARMUP as WARMUP
from .select import (
    Config as Config,
    EmbedConfig as EmbedConfig,
    EncodingConfig as EncodingConfig,
    ExecutorConfig as ExecutorConfig,
    IndexConfig as IndexConfig,
    PackConfig as PackConfig,
    PlanConfig as PlanConfig,
    SelectConfig as SelectConfig,
    build as build,
)
from .train import LaunchedTrainConfig as LaunchedTrainConfig, ProbeConfig as ProbeConfig, WarmupConfig as WarmupConfig
from .work import WorkConfig as WorkConfig
