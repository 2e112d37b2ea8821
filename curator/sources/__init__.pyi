from .find import find_sources as find_sources, pair_state as pair_state
from .folder import hidden_place as hidden_place, list_folder as list_folder, list_images as list_images
from .read import UnreadableShard as UnreadableShard, read_source as read_source
from .remarks import Remark as Remark, Remarks as Remarks
from .source import Source as Source, count_left_out as count_left_out, in_words as in_words
from .tar import read_samples as read_samples
