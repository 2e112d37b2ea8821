from .decode import DecodedImage as DecodedImage, OpenedImage as OpenedImage, decode_image as decode_image
from .heif import HEIF_ADVICE as HEIF_ADVICE, can_read_heif as can_read_heif
from .magic import HEAD as HEAD, image_ending as image_ending, text_kind as text_kind
from .memory import Budget as Budget, decoding_size as decoding_size, is_out_of_memory as is_out_of_memory
from .preprocess import MAX_ASPECT as MAX_ASPECT, Preprocess as Preprocess
