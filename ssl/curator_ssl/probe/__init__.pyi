from .accuracy import Accuracy as Accuracy
from .features import Labelled as Labelled, embed_labelled as embed_labelled, pixel_batches as pixel_batches
from .finetune import fine_tune as fine_tune, label_subset as label_subset
from .knn import knn_accuracy as knn_accuracy, knn_predictions as knn_predictions
from .labels import (
    LabelRule as LabelRule,
    SampleName as SampleName,
    image_sources as image_sources,
    label_hint as label_hint,
    label_of as label_of,
    parse_label as parse_label,
    read_labels as read_labels,
    unmatched_rows as unmatched_rows,
)
from .linear import Linear as Linear, Protocol as Protocol, linear_probe as linear_probe
from .online import make_training_probe as make_training_probe
