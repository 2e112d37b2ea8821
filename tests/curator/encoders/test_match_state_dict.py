import pytest
import torch
from torch import nn

from curator.encoders.match_state_dict import find_match, load_matching
from curator.encoders.weights import WeightsOrigin
from curator.errors import InputError

ORIGIN = WeightsOrigin(None, "it")


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def test_fits():
    source, target = model(), model()
    tensors = source.state_dict() | {"head.weight": torch.ones(1)}
    load_matching(target, tensors, ORIGIN, ignore=("head",))
    assert torch.equal(target[0].weight, source[0].weight)


def test_counters_of_batches_may_be_missing():
    tensors = {name: value for name, value in model().state_dict().items() if "num_batches" not in name}
    load_matching(model(), tensors, ORIGIN)


def test_names_what_does_not_fit():
    tensors = model().state_dict()
    del tensors["0.bias"]
    tensors["0.weight"] = torch.ones(5, 2)
    tensors |= {f"extra{number}": torch.ones(1) for number in range(9)}
    with pytest.raises(InputError) as caught:
        load_matching(model(), tensors, WeightsOrigin("weights", "w.pt"))
    assert str(caught.value) == (
        "weights='w.pt': its tensors do not match the model's: 1 missing: 0.bias; "
        "9 unexpected: extra0, extra1, extra2, ...; 1 of another shape: 0.weight 5x2 for 3x2"
    )


def prefixed(prefix, tensors, plus=0.0):
    return {prefix + name: value + plus for name, value in tensors.items()}


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "model.module.encoder_q.", "a.b.c."])
def test_any_prefix(prefix):
    source, target = model(), model()
    load_matching(target, prefixed(prefix, source.state_dict()) | {"other.weight": torch.ones(1)}, ORIGIN)
    assert torch.equal(target[0].weight, source[0].weight)


@pytest.mark.parametrize(
    ("used", "other"),
    [
        ("teacher.backbone.", "student.backbone."),
        ("encoder_q.", "encoder_k."),
        ("online_encoder.", "target_encoder."),
        ("backbone.", "backbone_momentum."),
    ],
)
def test_of_two_networks_the_one_that_papers_use(used, other):
    tensors = model().state_dict()
    for first, second in ((used, other), (other, used)):
        both = {}
        for prefix in (first, second):
            both |= prefixed(prefix, tensors, plus=0 if prefix == used else 1)
        match = find_match(model(), both)
        assert not match.problems
        assert torch.equal(match.tensors["0.weight"], tensors["0.weight"])


def test_what_is_trained_beside_the_backbone_is_left():
    beside = {name: torch.ones(1) for name in ("projection_head.0.weight", "decoder_pred.bias", "queue", "fc.2.bias")}
    load_matching(model(), prefixed("module.", model().state_dict() | beside), ORIGIN)


def test_children_by_number():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.relu, self.layer1 = nn.Conv2d(3, 2, 1), nn.ReLU(), model()

    source, target = Net(), Net()
    load_matching(target, nn.Sequential(*source.children()).state_dict(), ORIGIN)
    assert torch.equal(target.layer1[0].weight, source.layer1[0].weight)


def test_the_best_reading_is_the_one_that_is_told():
    tensors = prefixed("module.", model().state_dict())
    del tensors["module.1.bias"]
    with pytest.raises(InputError, match=r"it: its tensors do not match the model's: 1 missing: 1\.bias$"):
        load_matching(model(), tensors, ORIGIN)
