from .bad_samples import BadSamples as BadSamples
from .checkpoints import (
    TrainingState as TrainingState,
    has_checkpoint as has_checkpoint,
    load_training as load_training,
    run_identity as run_identity,
    save_encoder as save_encoder,
    save_training as save_training,
)
from .collapse import CALMER as CALMER, LearningWatch as LearningWatch, NothingLearned as NothingLearned
from .step_log import StepLog as StepLog
