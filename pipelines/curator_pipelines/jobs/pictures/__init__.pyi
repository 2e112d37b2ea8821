from .album import Album as Album, Picture as Picture, Strip as Strip
from .contact_sheet import (
    SHEET as SHEET,
    Band as Band,
    Tile as Tile,
    band_of as band_of,
    tile_of as tile_of,
    write_sheet as write_sheet,
)
from .thumbnails import (
    Original as Original,
    Thumbnail as Thumbnail,
    Thumbnails as Thumbnails,
    read_thumbnails as read_thumbnails,
)
