import re
from pathlib import Path

import pytest

from curator.errors import InputError
from curator.selection import SELECTORS
from curator_pipelines.config.select import Budget, SelectConfig, build, parse_budget, parse_stop

BASE = {"target": ["t"], "pool": ["p"], "out": "o"}


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("1000", Budget(count=1000)),
        ("10,000", Budget(count=10000)),
        ("5%", Budget(share=0.05)),
        ("0.1 %", Budget(share=0.001)),
    ],
)
def test_budget(text: str, budget: Budget) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize(
    ("text", "hint"), [("0.05", "budget='5%'"), ("0", "number"), ("-3", "number"), ("0%", "5%"), ("many", "1000")]
)
def test_a_budget_that_cannot_be_meant_is_refused_with_a_hint(text: str, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        parse_budget(text)


@pytest.mark.parametrize(
    ("share", "candidates", "count"), [(0.05, 20, 1), (0.05, 39, 1), (0.05, 40, 2), (0.01, 10, 1), (1.2, 10, 12)]
)
def test_shares_round_down_to_at_least_one(share: float, candidates: int, count: int) -> None:
    assert Budget(share=share).of(candidates) == count


@pytest.mark.parametrize(
    ("text", "stop"), [("0.95", 0.95), ("off", None), ("OFF", None), ("1", 1.0), ("auto", "auto"), (" Auto", "auto")]
)
def test_stop(text: str, stop: float | str | None) -> None:
    assert parse_stop(text) == stop


@pytest.mark.parametrize("text", ["0", "1.5", "-1", "95%", "never"])
def test_a_stop_rule_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"0\.95, or off"):
        parse_stop(text)


@pytest.mark.parametrize(
    ("flags", "limits"),
    [
        ({}, (None, "auto")),
        ({"budget": "7"}, (Budget(7), None)),
        ({"stop": "0.8"}, (None, 0.8)),
        ({"budget": "7", "stop": "0.8"}, (Budget(7), 0.8)),
        ({"budget": "7", "stop": "off"}, (Budget(7), None)),
        ({"budget": "7", "stop": "auto"}, (Budget(7), "auto")),
        ({"preset": "paper"}, (None, 0.95)),
        # A budget alone has no stop rule, with a preset neither.
        ({"preset": "paper", "budget": "7"}, (Budget(7), None)),
        ({"preset": "paper", "budget": "7", "stop": "0.8"}, (Budget(7), 0.8)),
        ({"preset": "authors", "stop": "auto"}, (None, "auto")),
        # It ends by itself, and knows no stop rule.
        ({"selector": "own_selectors:EndsByItself"}, (None, None)),
    ],
)
def test_which_end_is_in_force(
    flags: dict[str, str],
    limits: tuple[Budget | None, float | str | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "own_selectors.py").write_text(
        "from curator.selection import Selector\nclass EndsByItself(Selector):\n    needs_budget = False\n"
    )
    monkeypatch.chdir(tmp_path)
    assert build(SelectConfig, BASE | flags).limits() == limits


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"stop": "off"}, "stop='off': something must end the selection: give budget"),
        ({"selector": "random"}, "selector='random': this selector does not stop by itself: give budget"),
        ({"selector": "knn"}, "selector='knn': this selector does not stop by itself: give budget"),
        (
            {"selector": "best"},
            "selector='best': there is no such selector; it is simcore, csls, knn, random, ",
        ),
        ({"clusters": "0"}, "clusters='0': should be greater than or equal to 1"),
        ({"clusters": "many"}, "clusters='many': should be a valid integer"),
        ({"precision": "fp23"}, "precision='fp23': unknown; did you mean 'fp32'?"),
        ({"redo": "packs"}, "redo='packs': unknown; did you mean 'pack'?"),
        ({"max_bad": "0.01"}, "did you mean 1%"),
        ({"out": None}, "out: is missing"),
        ({"bugdet": "5"}, "there is no setting 'bugdet'; did you mean 'budget'?"),
        ({"target": ["birds=x.tar", "y.tar"]}, "each needs a name"),
        ({"dedup": "2"}, "dedup='2': should be less than or equal to 1"),
        ({"exclude_above": "0.9"}, "exclude_above: there are no evaluation images: give exclude"),
        ({"recall": "0.9"}, "recall: the exact search misses nothing: give search='ivf'"),
        ({"encoder": "lite0", "warmup_epochs": "2"}, "warmup_epochs: the encoder lite0 is ready"),
    ],
)
def test_errors_are_one_line_that_names_the_setting(flags: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        build(SelectConfig, BASE | flags)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("selector", ["csls", "knn", "random"])
@pytest.mark.parametrize(
    ("name", "value"),
    [("clusters", "4"), ("stop", "0.9"), ("stop", "off"), ("reference_round", "2"), ("search", "ivf"), ("recall", "1")],
)
def test_a_setting_that_the_selector_does_not_read_is_refused(selector: str, name: str, value: str) -> None:
    with pytest.raises(InputError, match=f"the selector {selector} does not read this setting: leave {name} away"):
        build(SelectConfig, BASE | {"selector": selector, "budget": "3", name: value})


def test_a_seed_has_its_use_with_every_selector() -> None:
    for selector in SELECTORS.names:
        assert build(SelectConfig, BASE | {"selector": selector, "budget": "3", "seed": 1}).seed == 1


def test_yaml_values_mean_what_they_say() -> None:
    config = build(
        SelectConfig, {"target": "t", "pool": "p", "out": "o", "budget": 1000, "stop": False, "max_bad": "2%"}
    )
    assert config.target == ["t"]
    assert config.limits() == (Budget(1000), None)
    assert config.max_bad == 0.02


PAPER = {"encoder": ["warmup"], "clusters": 100, "stop": "0.95", "reference_round": 1, "skip_own": False}


@pytest.mark.parametrize(("preset", "values"), [("paper", PAPER), ("authors", PAPER | {"reference_round": 20})])
def test_a_preset_takes_the_place_of_defaults(preset: str, values: dict[str, object]) -> None:
    config = build(SelectConfig, BASE | {"preset": preset})
    assert {name: getattr(config, name) for name in values} == values
    assert config.model_fields_set == {*BASE, "preset"}


def test_a_preset_names_the_encoder_of_given_weights() -> None:
    assert build(SelectConfig, BASE | {"preset": "paper", "weights": "w.pt"}).weights == "w.pt"
    with pytest.raises(InputError, match="none is named"):
        build(SelectConfig, BASE | {"encoder": "auto", "weights": "w.pt"})


def test_what_is_given_wins_over_a_preset() -> None:
    config = build(SelectConfig, BASE | {"preset": "paper", "clusters": "auto", "encoder": "lite0", "skip_own": True})
    assert (config.clusters, config.encoder, config.skip_own, config.stop) == (None, ["lite0"], True, "0.95")


@pytest.mark.parametrize("selector", ["knn", "random"])
def test_what_a_preset_sets_is_never_refused(selector: str) -> None:
    config = build(SelectConfig, BASE | {"preset": "authors", "selector": selector, "budget": "3"})
    assert (config.encoder, config.skip_own) == (["warmup"], False)


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(InputError, match="preset='papre': unknown; did you mean 'paper'"):
        build(SelectConfig, BASE | {"preset": "papre"})


@pytest.mark.parametrize(("text", "clusters"), [("auto", None), ("7", 7), (7, 7)])
def test_clusters(text: object, clusters: int | None) -> None:
    assert build(SelectConfig, BASE | {"clusters": text}).clusters == clusters
