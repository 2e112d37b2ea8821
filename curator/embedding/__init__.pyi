from .crash_probe import sound_images as sound_images
from .decode_batches import Decoder as Decoder, fill_batches as fill_batches
from .fixed_batch import check_fixed_batch as check_fixed_batch, kinds_of_machine as kinds_of_machine
from .read_decode_encode import embed_into as embed_into, embed_source as embed_source
