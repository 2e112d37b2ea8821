from .config import Config as Config, build as build
from .setting import Declared as Declared, Setting as Setting, declared as declared, did_you_mean as did_you_mean
from .stages import REDONE as REDONE, STAGES as STAGES
from .values import (
    Budget as Budget,
    Clusters as Clusters,
    Count as Count,
    Device as Device,
    Duration as Duration,
    EncoderName as EncoderName,
    EncoderNames as EncoderNames,
    MaxBad as MaxBad,
    Names as Names,
    Precision as Precision,
    Seed as Seed,
    Share as Share,
    Similarity as Similarity,
    Stop as Stop,
    Text as Text,
    Urls as Urls,
    Weights as Weights,
    Workers as Workers,
    parse_budget as parse_budget,
    parse_stop as parse_stop,
)
