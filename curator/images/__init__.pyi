from .decode import DecodedImage as DecodedImage, decode_image as decode_image
from .preprocess import MAX_ASPECT as MAX_ASPECT, Preprocess as Preprocess
