import io
import tarfile
from pathlib import Path

from PIL import Image

from benchmarks.altered_targets import ALTERATIONS, write_photos


def photo(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(buffer, "JPEG")
    return buffer.getvalue()


def members(shard: Path) -> list[bytes]:
    with tarfile.open(shard) as tar:
        return [tar.extractfile(member).read() for member in tar]  # type: ignore[union-attr]


def test_photos_become_a_shard_as_they_are_or_altered(tmp_path: Path) -> None:
    photos = [photo((250, 10, 10)), photo((10, 10, 250))]
    write_photos(tmp_path / "plain" / "target.tar", photos)
    assert members(tmp_path / "plain" / "target.tar") == photos
    write_photos(tmp_path / "grey.tar", photos, ALTERATIONS["grey"])
    for data in members(tmp_path / "grey.tar"):
        image = Image.open(io.BytesIO(data))
        assert (image.mode, image.size) == ("RGB", (8, 6))
        assert len(set(image.getpixel((4, 3)))) == 1
