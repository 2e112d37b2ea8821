from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from curator.errors import InputError
from curator_ssl.losses.nt_xent import nt_xent_loss
from curator_ssl.methods import make_method, method_options
from curator_ssl.methods.base import Method, spread
from curator_ssl.methods.options import describe_options

OWN = """
from dataclasses import dataclass

from curator_ssl.methods.base import Method, spread


@dataclass
class Options:
    scale: float = 1.0


class Twins(Method):
    Options = Options

    def __init__(self, backbone, dim, options):
        super().__init__(backbone, dim, options)
        self.scale = options.scale

    def forward(self, first, second, images):
        one, other = self.backbone(first), self.backbone(second)
        return self.scale * (one - other).square().mean(), spread(one)
"""
ROWS, DIM = 6, 10
IMAGES = torch.arange(ROWS)


def views(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.randn(2, ROWS, 3, 8, 8, generator=generator)
    return first, second


def method(name: str, **options: Any) -> Method:
    """Around a backbone whose rows do not depend on each other."""
    torch.manual_seed(1)
    made = make_method(name, nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, DIM), nn.LayerNorm(DIM)), DIM, options)
    return made.eval()  # the heads' batch norms, too


class TestSimCLR:
    def test_its_loss_is_nt_xent_of_the_head(self) -> None:
        made, (first, second) = method("simclr"), views()
        one, other = (made.head(made.backbone(view)) for view in (first, second))
        loss, wide = made(first, second, IMAGES)
        torch.testing.assert_close(loss, nt_xent_loss(one, other, 0.2))
        torch.testing.assert_close(wide, spread(one))


class TestBYOL:
    @pytest.fixture(autouse=True)
    def _lightly(self) -> None:
        pytest.importorskip("lightly")

    def test_like_lightly(self) -> None:
        from lightly.loss import NegativeCosineSimilarity

        made, (first, second) = method("byol"), views()
        with torch.no_grad():
            for weight in made.target.parameters():
                weight.mul_(1.1).add_(0.01)
        loss_of = NegativeCosineSimilarity()
        predicted = [made.predictor(made.projector(made.backbone(view))) for view in (first, second)]
        projected = [made.target(view).detach() for view in (first, second)]
        # lightly leaves out what does not change the gradient: 2 - 2 cos for each of two views.
        wanted = 4 + 2 * (loss_of(predicted[0], projected[1]) + loss_of(predicted[1], projected[0]))

        loss, _ = made(first, second, IMAGES)

        torch.testing.assert_close(2 * loss, wanted)

    def test_rows_that_do_not_count(self) -> None:
        made, (first, second) = method("byol"), views()
        images = torch.tensor([0, -1, 2, 3, -1, 5])
        kept = images >= 0
        loss, _ = made(first, second, images)
        torch.testing.assert_close(loss, made(first[kept], second[kept], images[kept])[0])

    def test_the_target_only_follows(self) -> None:
        made = method("byol")
        loss, _ = made(*views(), IMAGES)
        loss.backward()
        assert all(weight.grad is None for weight in made.target.parameters())
        assert all(weight.grad is not None for weight in made.backbone.parameters())

    def test_the_target_is_a_slow_average_that_stands_still_in_the_end(self) -> None:
        made = method("byol")
        slow, fast = made.target[0][1].weight, made.backbone[1].weight
        with torch.no_grad():
            fast.add_(1)
        before = slow.clone()
        made.after_step(0.0)
        torch.testing.assert_close(slow, before + 0.01)
        before = slow.clone()
        made.after_step(1.0)
        torch.testing.assert_close(slow, before, atol=1e-6, rtol=0)

    def test_its_target_is_saved(self) -> None:
        made, again = method("byol"), method("byol")
        with torch.no_grad():
            made.target[0][1].weight.zero_()
        again.load_state_dict(made.state_dict())
        assert again.target[0][1].weight.abs().max() == 0


def test_spread() -> None:
    generator = torch.Generator().manual_seed(0)
    assert spread(torch.randn(4000, 32, generator=generator)) == pytest.approx(1, abs=0.02)
    assert spread(torch.ones(50, 32) * torch.rand(50, 1, generator=generator)) == pytest.approx(0, abs=1e-6)


class TestOptions:
    def test_they_reach_the_loss(self) -> None:
        first, second = views()
        cold, warm = (method("simclr", temperature=temperature)(first, second, IMAGES)[0] for temperature in (0.1, 1))
        assert float(cold.detach()) != pytest.approx(float(warm.detach()), rel=0.1)
        assert method("simclr", projection=7).head[-1].out_features == 7

    def test_the_momentum_of_byol(self) -> None:
        pytest.importorskip("lightly")
        made = method("byol", momentum=0.5, hidden=8, projection=4)
        slow, fast = made.target[0][1].weight, made.backbone[1].weight
        with torch.no_grad():
            fast.add_(1)
        before = slow.clone()
        made.after_step(0.0)
        torch.testing.assert_close(slow, before + 0.5)

    def test_all_of_them_have_values_in_the_end(self) -> None:
        assert method_options("simclr", {"temperature": "0.2"}) == {"temperature": 0.2, "projection": 128}
        assert "temperature (0.2)" in describe_options() and "momentum (0.99)" in describe_options()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"temprature": 1}, r"method_option='temprature': simclr has no such option; did you mean 'temperature'"),
            ({"temperature": "warm"}, r"temperature=warm': should be a valid number"),
            ({"temperature": -1}, r"temperature=-1': should be greater than 0"),
            ({"projection": 1.5}, r"projection=1.5': should be a valid integer"),
        ],
    )
    def test_those_that_do_not_fit(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(InputError, match=message):
            method_options("simclr", options)


def test_no_such_method() -> None:
    with pytest.raises(InputError, match="method='dino': there is no such method"):
        make_method("dino", nn.Identity(), 3, {})


class TestAnyonesOwn:
    @pytest.fixture(autouse=True)
    def _module(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "own_method_for_tests.py").write_text(OWN)
        monkeypatch.syspath_prepend(tmp_path)

    def test_it_is_made_with_its_options(self) -> None:
        made = method("own_method_for_tests:Twins", scale="3")
        loss, _ = made(*views(), IMAGES)
        plain, _ = method("own_method_for_tests:Twins")(*views(), IMAGES)
        torch.testing.assert_close(loss, 3 * plain)
        with pytest.raises(InputError, match="own_method_for_tests:Twins has no such option; did you mean 'scale'"):
            method("own_method_for_tests:Twins", scales="3")

    def test_what_is_no_method(self) -> None:
        with pytest.raises(InputError, match="no subclass of curator_ssl"):
            method("own_method_for_tests:Options")
