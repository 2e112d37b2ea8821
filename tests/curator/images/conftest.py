import io
from collections.abc import Callable

import pytest
from PIL import Image


@pytest.fixture
def encoded() -> Callable[..., bytes]:
    """An image as the bytes of a file: encoded(image, "JPEG", quality=90)."""

    def encode(image: Image.Image, form: str, **options: object) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, form, **options)
        return buffer.getvalue()

    return encode


@pytest.fixture
def photo() -> Image.Image:
    """A real photo, 96 x 64."""
    data = pytest.importorskip("skimage.data")
    return Image.fromarray(data.astronaut()[100:164, 100:196])
