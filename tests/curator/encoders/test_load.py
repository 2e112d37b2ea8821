import subprocess
import sys

import numpy as np
import pytest
import torch

from curator.encoders.load import load_encoder
from curator.errors import InputError


@pytest.mark.parametrize("batch_size", [1, 31])
def test_small_batches_are_refused(batch_size):
    with pytest.raises(InputError, match="at least 32"):
        load_encoder("lite0", batch_size=batch_size)


def test_defaults_on_a_cpu(tiny):
    assert (tiny.batch_size, str(tiny.device), tiny.precision, tiny.dim) == (32, "cpu", "fp32", 256)
    assert tiny.architecture == "timm:test_efficientnet"
    assert tiny.spec == "timm:test_efficientnet"


def test_another_batch_size_is_taken():
    encoder = load_encoder("timm:test_vit", weights="random", device="cpu", precision="fp32", batch_size=48)
    assert encoder.input_shape == (48, 3, 160, 160)


def test_random_weights_are_the_same_in_another_process(tiny, noise):
    code = """
import sys, torch
torch.manual_seed(123)
from curator.encoders.load import load_encoder
encoder = load_encoder("timm:test_efficientnet", weights="random", device="cpu", precision="fp32")
generator = torch.Generator().manual_seed(1)
batch = torch.randint(0, 256, (32, 3, 160, 160), dtype=torch.uint8, generator=generator)
print(encoder.tensors_hash)
sys.stdout.flush()
sys.stdout.buffer.write(encoder.encode(batch).tobytes())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    digest, _, vectors = done.stdout.partition(b"\n")
    assert digest.decode() == tiny.tensors_hash
    assert vectors == tiny.encode(noise).tobytes()


def test_a_model_without_rows_of_features(monkeypatch):
    timm = pytest.importorskip("timm")
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, **options: create(name, global_pool="", **options))
    with pytest.raises(InputError, match=r"timm:test_resnet': .*one row of features"):
        load_encoder("timm:test_resnet", weights="random", device="cpu")


def test_no_gpu_is_said_before_anything_is_loaded(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(InputError, match="give device='cpu'"):
        load_encoder("timm:no_such_model", device="cuda")


def test_weights_of_a_file_give_the_same_as_the_model_they_came_from(tmp_path, tiny, noise):
    timm = pytest.importorskip("timm")
    torch.manual_seed(7)
    trained = timm.create_model("test_efficientnet")
    torch.save({"state_dict": trained.state_dict()}, tmp_path / "one.pth")
    encoder = load_encoder("timm:test_efficientnet", weights=str(tmp_path / "one.pth"), device="cpu", precision="fp32")
    assert encoder.tensors_hash != tiny.tensors_hash
    trained.reset_classifier(0)
    with torch.inference_mode():
        expected = trained.eval()(encoder.preprocess.normalise(noise))
    expected = torch.nn.functional.normalize(expected).numpy()
    np.testing.assert_allclose(encoder.encode(noise), expected, atol=1e-4)
