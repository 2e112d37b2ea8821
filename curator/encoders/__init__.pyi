from .check_preprocess import MIN_COSINE as MIN_COSINE, lowest_cosine as lowest_cosine
from .checkpoint import (
    OWN_ARCHITECTURES as OWN_ARCHITECTURES,
    build_backbone as build_backbone,
    copy_at_size as copy_at_size,
    save_checkpoint as save_checkpoint,
)
from .device import (
    count_gpus as count_gpus,
    resolve_device as resolve_device,
    resolve_precision as resolve_precision,
)
from .encoder import (
    IDENTITY_FIELDS as IDENTITY_FIELDS,
    MIN_BATCH_SIZE as MIN_BATCH_SIZE,
    Backbone as Backbone,
    Encoder as Encoder,
    hash_named_tensors as hash_named_tensors,
    hash_tensors as hash_tensors,
)
from .hardware import Hardware as Hardware, look_at_hardware as look_at_hardware
from .load import (
    default_batch_size as default_batch_size,
    load_backbone as load_backbone,
    load_encoder as load_encoder,
)
from .match_state_dict import load_weights as load_weights
from .open_clip_text import load_text_encoder as load_text_encoder
from .ready import network_off as network_off, ready_encoders as ready_encoders
from .spec import ENCODERS as ENCODERS, parse_spec as parse_spec
from .weights import RANDOM as RANDOM, read_weights as read_weights
