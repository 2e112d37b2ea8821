from .augment import sample_seed as sample_seed
from .loader import Batch as Batch, StepDataset as StepDataset, load_steps as load_steps
from .sample_finder import FoundSamples as FoundSamples, find_samples as find_samples, stored_lines as stored_lines
from .samples import Samples as Samples, read_samples_file as read_samples_file
from .schedule import Schedule as Schedule, make_schedule as make_schedule
