"""Every setting of every command redoes the stage that it declares, none before it, and nothing stale is left."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import click
import pytest
import torch
from jobs_for_tests import ENCODER, inodes, picture, tar_bytes

from curator.errors import InputError
from curator.settings.config import Config, build
from curator.settings.setting import Setting, declared
from curator.settings.stages import STAGES
from curator.settings.values import Similarity
from curator_pipelines.cli.main import COMMANDS, cli
from curator_pipelines.config.measure import MeasureConfig
from curator_pipelines.config.queries import (
    CompareConfig,
    DedupConfig,
    DemoConfig,
    ExportConfig,
    InspectConfig,
    RelocateConfig,
    ReportConfig,
    SearchConfig,
    SubmitConfig,
    VerifyConfig,
)
from curator_pipelines.config.select import EmbedConfig, IndexConfig, PackConfig, PlanConfig, SelectConfig
from curator_pipelines.config.train import LaunchedTrainConfig, ProbeConfig, WarmupConfig
from curator_pipelines.config.work import WorkConfig
from curator_pipelines.executors import InProcessExecutor
from curator_pipelines.jobs.measure import executor
from curator_pipelines.jobs.queries.dedup import run_dedup
from curator_pipelines.jobs.queries.run_events import inspect_events
from curator_pipelines.jobs.queries.run_ledger import inspect_ledger
from curator_pipelines.jobs.queries.run_state import inspect_run
from curator_pipelines.jobs.queries.search import run_search
from curator_pipelines.jobs.queries.verify_run import verify
from curator_pipelines.jobs.queries.why import explain
from curator_pipelines.jobs.select.embed_pool import run_embed
from curator_pipelines.jobs.select.index import run_index
from curator_pipelines.jobs.select.pack import run_pack
from curator_pipelines.jobs.select.select_run import plan_select, run_select
from curator_pipelines.jobs.train import warmup
from curator_pipelines.jobs.train.warmup import run_warmup
from curator_pipelines.run.progress import Reporter

Values = dict[str, Any]

MODELS: dict[str, type[Config]] = {
    "select": SelectConfig,
    "embed": EmbedConfig,
    "measure": MeasureConfig,
    "plan": PlanConfig,
    "warmup": WarmupConfig,
    "train": LaunchedTrainConfig,
    "probe": ProbeConfig,
    "index": IndexConfig,
    "pack": PackConfig,
    "search": SearchConfig,
    "dedup": DedupConfig,
    "report": ReportConfig,
    "compare": CompareConfig,
    "export": ExportConfig,
    "verify": VerifyConfig,
    "relocate": RelocateConfig,
    "inspect": InspectConfig,
    "work": WorkConfig,
    "submit": SubmitConfig,
    "demo": DemoConfig,
}
# They leave no stages of a selection; of `train` see train/test_train_settings.py.
WITHOUT_STAGES = ("measure", "report", "compare", "export", "train", "probe", "relocate", "work", "submit", "demo")
JOBS: dict[str, Callable[[Any], object]] = {
    "select": lambda config: run_select(config, Reporter()),
    "embed": lambda config: run_embed(config, Reporter()),
    "plan": lambda config: plan_select(config, Reporter(), config.calibrate),
    "warmup": lambda config: run_warmup(config, Reporter()),
    "index": lambda config: run_index(config, Reporter()),
    "pack": lambda config: run_pack(config, Reporter()),
    "search": lambda config: explain(config) if config.why else run_search(config, Reporter()),
    "dedup": lambda config: run_dedup(config, Reporter()),
    "verify": lambda config: verify(config.out, Reporter()),
    "inspect": lambda config: (inspect_ledger if config.bad else inspect_events if config.events else inspect_run)(
        config.urls[0]
    ),
}
# What each stage leaves below OUT.
LEFT = {stage: (stage,) for stage in STAGES} | {
    "warmup": ("warmup", "encoder.pt"),
    "select": ("selection",),
    "pack": ("shards",),
}


@dataclass(frozen=True)
class Case:
    """Another value for a setting.

    Attributes:
        value: the value; a function gets the folder of the data.
        also: what both runs are given as well.
        given: what only the second run is given as well; None takes a setting away.
        start: the encoder of the first run: `warmup`, or empty for a ready one.
    """

    value: Any
    also: Values = field(default_factory=dict)
    given: Values = field(default_factory=dict)
    start: str = ""


def below(*names: str) -> Callable[[Path], Any]:
    return lambda data: str(data.joinpath(*names))


EXECUTOR = {
    "address": Case("local"),
    "workers": Case(2),
    "gpus_per_worker": Case(0.5),
    "metrics_file": Case(below("curator.prom")),
    "wait_for_workers": Case("1m"),
}
ENCODING = EXECUTOR | {
    "encoder": Case("timm:test_vit", given={"weights": "random"}),
    "weights": Case(below("weights-1.pt")),
    "batch_size": Case(64),
    "precision": Case("bf16"),
    "device": Case("auto"),
    "min_side": Case(10),
    "max_bad": Case("40%"),
    "give_up_shards": Case(True),
    "update_pool": Case(True),
    "copy_pool": Case(True),
}
CASES: dict[str, dict[str, Case]] = {
    "select": ENCODING
    | {
        "weights": Case(below("resnet.pt"), start="warmup"),
        "target": Case(below("target-1")),
        "pool": Case(below("pool-{0..2}.tar")),
        "preset": Case("paper", given={"encoder": None, "weights": None, "warmup_epochs": 1}),
        "clusters": Case(2),
        "budget": Case("5"),
        "stop": Case("0.999"),
        "reference_round": Case(2),
        "selector": Case("random", given={"clusters": None, "stop": None}),
        "per_target": Case(1, also={"selector": "csls", "clusters": None, "stop": None, "budget": "4"}),
        "skip_own": Case(False),
        "report": Case(True),
        "report_by": Case("label", also={"report": True}),
        "dedup": Case(0.5),
        "exclude": Case(below("exclude-1")),
        "exclude_above": Case(0.5),
        "search": Case("ivf"),
        "recall": Case(0.4, also={"search": "ivf"}),
        "deny": Case(below("deny-1.txt")),
        "manifest_only": Case(True),
        "shard_size": Case(3),
        "seed": Case(4, start="warmup"),
        "warmup_epochs": Case(2, also={"exclude_above": 1.0}, start="warmup"),
        "warmup_arch": Case("test_vit", start="warmup"),
        "warmup_size": Case(48, start="warmup"),
    },
    "embed": ENCODING | {"pool": Case(below("pool-{0..2}.tar"))},
    "index": EXECUTOR | {"add": Case(True), "factory": Case("IVF2,Flat"), "seed": Case(1)},
    "pack": EXECUTOR
    | {
        "pool": Case(below("pool-{0..1}.tar")),
        "manifest_only": Case(True),
        "shard_size": Case(3),
        "seed": Case(4),
    },
    "plan": {"calibrate": Case(True)},
    "search": {
        "image": Case(below("target-0", "0.png"), given={"key": None, "shard": None}),
        "key": Case("0002"),
        "text": Case("a bird", given={"key": None, "shard": None}),
        "why": Case("0002", given={"key": None}),
        "shard": Case("pool-1.tar"),
        "target": Case("birds"),
        "top": Case(3),
        "sheet": Case(below("sheet.png")),
        "encoder": Case("timm:test_vit"),
        "weights": Case("random"),
    },
    "warmup": {
        "target": Case(below("target-1")),
        "weights": Case(below("resnet.pt")),
        "warmup_epochs": Case(2),
        "warmup_arch": Case("test_vit"),
        "warmup_size": Case(48),
        "metrics_file": Case(below("curator.prom")),
        "seed": Case(4),
        "device": Case("auto"),
        "max_bad": Case("40%"),
    },
    "dedup": {"dedup": Case(0.5), "clusters": Case(2), "seed": Case(5)},
    "inspect": {"bad": Case(True), "events": Case(True), "watch": Case(True)},
}
# Where a run stands, and what to start anew, are not part of what it makes.
NOT_WALKED = ("out", "run", "urls", "redo")
WALK = [(command, name) for command, cases in CASES.items() for name in cases]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only: targets, pool shards, evaluation images, lists and weights, each in two versions."""
    folder = tmp_path_factory.mktemp("data")
    for number in range(2):
        for kind, first in (("target", 0), ("exclude", 110)):
            (folder / f"{kind}-{number}").mkdir()
            for image in range(5):
                (folder / f"{kind}-{number}" / f"{image}.png").write_bytes(picture(first + 20 * number + image))
        (folder / f"deny-{number}.txt").write_text(f"000{number}\n")
        torch.manual_seed(number)
        torch.save(new_model("test_efficientnet").state_dict(), folder / f"weights-{number}.pt")
    for shard in range(3):
        entries = [(f"{image:04d}.png", picture(100 * (shard + 1) + image)) for image in range(9)]
        # A copy of an image of another shard, for what looks for duplicates.
        entries[3] = ("0003.png", picture(104))
        # And one of the target's own.
        entries[5] = ("0005.png", picture(2))
        (folder / f"pool-{shard}.tar").write_bytes(tar_bytes(entries))
    shutil.copy(folder / "weights-1.pt", folder / "resnet.pt")
    return folder


def new_model(name: str) -> torch.nn.Module:
    import timm

    model: torch.nn.Module = timm.create_model(name)
    return model


def base(command: str, start: str, data: Path, out: Path) -> Values:
    """What the first run of a command is given."""
    pool = [str(data / "pool-{0..1}.tar")]
    encoder: Values = dict(ENCODER)
    selection = {
        "target": [str(data / "target-0")],
        "pool": pool,
        "exclude": [str(data / "exclude-0")],
        "deny": str(data / "deny-0.txt"),
        "clusters": 3,
        "budget": "8",
        "stop": "0.2",
        "dedup": 0.99999,
        "shard_size": 4,
        "seed": 3,
    }
    # A page takes a second, and changes nothing: two cases have one.
    selection["report"] = False
    if start == "warmup":
        encoder = encoder | {"encoder": "warmup", "weights": None, "warmup_epochs": 1}
    by_command: dict[str, Values] = {
        "select": encoder | selection,
        "plan": encoder | selection,
        "embed": encoder | {"pool": pool},
        "pack": {"shard_size": 4, "seed": 3},
        "warmup": {"target": [str(data / "target-0")], "warmup_epochs": 1, "seed": 3, "device": "cpu"},
        "search": {"key": "0001", "shard": "pool-0.tar"},
    }
    where = {"search": "run", "dedup": "run"}.get(command, "out")
    return by_command.get(command, {}) | ({"urls": [str(out)]} if command == "inspect" else {where: str(out)})


# What must be there before a command can run.
STARTS = {
    "plan": "select",
    "pack": "select",
    "search": "select",
    "dedup": "select",
    "index": "embed",
    "inspect": "select",
}


@pytest.fixture(autouse=True, scope="module")
def small() -> Iterator[None]:
    """No worker processes, no cluster, and a warm-up of an instant."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executor, "LocalExecutor", lambda **settings: InProcessExecutor())
        patch.setattr(executor, "ray_address", lambda given: None)
        patch.setattr(warmup, "ARCHITECTURE", "timm:test_efficientnet")
        patch.setattr(warmup, "EFFORTS", {"cpu": warmup.Effort(32, 1)})
        yield


Finished = Callable[..., Path]


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """`finished(command, start, out, also, model)`: a copy of a finished run at `out`; equal ones are run once."""
    known: dict[str, Path] = {}

    def copy(command: str, start: str, out: Path, also: Values, model: type[Config]) -> Path:
        key = f"{command} {start} {also} {model.__name__}"
        if key not in known:
            made = tmp_path_factory.mktemp("finished") / "run"
            if command in STARTS:
                copy(STARTS[command], start, made, {}, MODELS[STARTS[command]])
            JOBS[command](build(model, base(command, start, data, made) | also))
            known[key] = made
        shutil.copytree(known[key], out)
        return out

    return copy


def stages_left(out: Path) -> dict[str, dict[str, tuple[int, int]]]:
    """Stage -> its files below OUT, each with what tells whether it was written again."""
    files = inodes(out)
    found = {
        stage: {name: key for name, key in files.items() if name.partition("/")[0] in names}
        for stage, names in LEFT.items()
    }
    return {stage: inside for stage, inside in found.items() if inside}


def result(out: Path) -> dict[str, bytes]:
    """What a selection is, and what was packed of it."""
    names = ("selected.parquet", "rounds.parquet", "skipped.parquet", ".tar", "manifest.parquet")
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.name.endswith(names) and path.parent.name in ("selection", "shards")
    }


def run_again(model: type[Config], command: str, name: str, out: Path, given: Values) -> list[str]:
    """Run a finished run again, with the advised `redo` where it is refused; returns the stages that were redone."""
    before = stages_left(out)
    try:
        JOBS[command](build(model, given))
    except InputError as error:
        assert stages_left(out) == before, f"{name}: refused, but something was written"
        advised = re.search(r"redo(?:=| )'?(\w+)", str(error))
        if advised and "redo" in declared(model):
            JOBS[command](build(model, given | {"redo": advised[1]}))
        else:
            # A command without `redo` says what differs; the trainer's word for its images is samples.
            stage = declared(model)[name].setting.changes
            if stage and not re.search("samples" if name == "target" else rf"\b{name}\b", str(error)):
                raise
            return [stage] if stage else []
    after = stages_left(out)
    return [stage for stage in before if after.get(stage) != before[stage]]


def check_redone(model: type[Config], command: str, name: str, out: Path, given: Values, fresh: Path) -> None:
    """Run again: the declared stage is redone, none before it, and nothing stale is left."""
    stages = list(stages_left(out))
    redone = run_again(model, command, name, out, given)
    declares = declared(model)[name].setting.changes
    if declares is None:
        assert not redone, f"{name} declares that it changes nothing, but {redone} were redone"
    else:
        expected = next(stage for stage in stages if STAGES.index(stage) >= STAGES.index(declares))
        assert redone[:1] == [expected], f"{name} declares {expected}, but {redone} were redone"
    if command == "select" and declares in (None, "select", "pack"):
        anew = {"out": str(fresh)} if declares is None else {"redo": "select"}
        left = result(out)
        JOBS[command](build(model, given | anew))
        assert left == result(Path(anew.get("out", out))), f"{name}: what is left is not what this value gives"


def walk(model: type[Config], command: str, name: str, data: Path, tmp_path: Path, start: Finished) -> None:
    """One setting with another value."""
    case = CASES[command][name]
    out = start(command, case.start, tmp_path / "run", case.also, model)
    value = case.value(data) if callable(case.value) else case.value
    given = base(command, case.start, data, out) | case.also | case.given | {name: value}
    check_redone(model, command, name, out, given, tmp_path / "fresh")


def not_covered(command: str, model: type[Config]) -> set[str]:
    """Settings of a command that the walk does not reach. `plan` has those of `select`, and writes nothing."""
    inherited = set(declared(SelectConfig)) if command == "plan" else set()
    return set(declared(model)) - inherited - set(NOT_WALKED) - set(CASES.get(command, {}))


@pytest.mark.parametrize(("command", "name"), WALK)
@pytest.mark.slow
def test_another_value_redoes_what_it_declares(
    command: str, name: str, data: Path, tmp_path: Path, finished: Finished
) -> None:
    walk(MODELS[command], command, name, data, tmp_path, finished)


# What stands behind a name -> what takes its place.
CONTENTS = {
    "target": ("target-0/0.png", "target-1/0.png"),
    "pool": ("pool-1.tar", "pool-2.tar"),
    "exclude": ("exclude-0/0.png", "exclude-1/0.png"),
    "deny": ("deny-0.txt", "deny-1.txt"),
    "weights": ("weights-0.pt", "weights-1.pt"),
}


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.slow
def test_another_content_behind_a_name_redoes_what_it_declares(name: str, data: Path, tmp_path: Path) -> None:
    own = shutil.copytree(data, tmp_path / "data")
    weights = {"weights": str(own / "weights-0.pt")} if name == "weights" else {}
    given = base("select", "", own, tmp_path / "run") | weights
    JOBS["select"](build(SelectConfig, given))
    old, new = CONTENTS[name]
    shutil.copy(data / new, own / old)
    check_redone(SelectConfig, "select", name, tmp_path / "run", given, tmp_path / "fresh")


@pytest.mark.parametrize(("name", "file"), [("deny", "deny-0.txt"), ("weights", "weights-0.pt")])
def test_the_same_content_behind_another_name_redoes_nothing(
    name: str, file: str, data: Path, tmp_path: Path, finished: Finished
) -> None:
    also = {name: str(data / file)}
    out = finished("select", "", tmp_path / "run", also, SelectConfig)
    shutil.copy(data / file, tmp_path / f"other-{file}")
    given = base("select", "", data, out) | {name: str(tmp_path / f"other-{file}")}
    assert run_again(SelectConfig, "select", name, out, given) == []


def test_the_walk_covers_every_setting_of_every_command() -> None:
    assert set(MODELS) == set(COMMANDS)
    for command, model in MODELS.items():
        assert command in WITHOUT_STAGES or not not_covered(command, model), command


class Forgotten(SelectConfig):
    """A setting that changes the selection, and declares that it changes nothing."""

    dedup: Annotated[Similarity | None, Setting("Planted.", changes=None)] = None


class TooLate(SelectConfig):
    """A setting that declares a later stage than the first one it changes."""

    exclude_above: Annotated[Similarity, Setting("Planted.", changes="pack")] = 0.95


class Undeclared(SelectConfig):
    """A field without a declaration."""

    sharpness: int = 3


class NotCovered(SelectConfig):
    """A new setting that the walk knows nothing of."""

    sharpness: Annotated[int, Setting("Planted.")] = 3


@pytest.mark.slow
def test_planted_settings_turn_the_walk_red(data: Path, tmp_path: Path, finished: Finished) -> None:
    with pytest.raises(AssertionError, match="dedup: what is left is not what this value gives"):
        walk(Forgotten, "select", "dedup", data, tmp_path / "forgotten", finished)
    with pytest.raises(AssertionError, match=r"exclude_above declares pack, but \[\] were redone"):
        walk(TooLate, "select", "exclude_above", data, tmp_path / "late", finished)
    with pytest.raises(TypeError, match=r"Undeclared\.sharpness has no Setting"):
        not_covered("select", Undeclared)
    assert not_covered("select", NotCovered) == {"sharpness"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_a_declared_setting(command: str) -> None:
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    names = {parameter.name for parameter in found.params} - {"config", "as_json", "dry_run"}
    assert names == set(declared(MODELS[command]))
