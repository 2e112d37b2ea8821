"""The encoder of a selection: the one that is named, the one that OUT has, or the one that a measurement chooses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from curator.errors import Another, InputError, Redo, Use
from curator.io import Owner, absolute, public_text
from curator_pipelines.config import AUTO, WARMUP, SelectConfig
from curator_pipelines.jobs.measure.candidates import expanded
from curator_pipelines.jobs.measure.choice import choose_encoder, follow, judge_warmup
from curator_pipelines.jobs.measure.encoding import Encoding, foreign_encoder, foreign_encoding
from curator_pipelines.jobs.measure.run_sources import RunSources
from curator_pipelines.jobs.measure.store import kept_choice
from curator_pipelines.jobs.measure.warmup_first import plan_warmup, with_warmup
from curator_pipelines.run import Reporter, RunDirectory, Spent, spending

__all__ = ["ChosenEncoder", "plan_encoder", "with_encoder"]


@dataclass(frozen=True)
class ChosenEncoder:
    """A selection's encoder, ready to be used.

    Attributes:
        config: the selection's config, which names this encoder and no other.
        spent: what each stage cost that led to it.
        loaded: the encoder, where it was loaded to be measured.
    """

    config: SelectConfig
    spent: Mapping[str, Spent] = field(default_factory=dict)
    loaded: Encoding | None = None

    @property
    def name(self) -> str:
        """Its name; `auto` only where nothing is left to encode."""
        return self.config.encoder[0]


def with_encoder(config: SelectConfig, sources: RunSources, reporter: Reporter, owner: Owner) -> ChosenEncoder:
    """A selection's encoder, ready: what must be measured or trained for that is done.

    Args:
        config: of the selection.
        sources: what its target, pool and evaluation set stand for.
        reporter: is told of the choice.
        owner: this process as OUT's owner.

    Raises:
        InputError: what can be found before work starts.
        CuratorError: no encoder can tell the target from the pool; OUT/measure says so from then on.
    """
    run = RunDirectory(absolute(config.out), owner)
    run.check_ours()
    run.check_targets(list(sources.targets))
    chooses_anew = config.redo == "measure"
    config = _started_anew(config, run)
    if config.is_measured:
        known = _known(config, run, sources, reporter, chooses_anew)
        if known is None:
            with spending("measure") as measured:
                chosen, loaded, warmup = choose_encoder(config, run, sources, reporter)
            spent = {"measure": measured} if warmup is None else {"measure": measured.without(warmup), "warmup": warmup}
            return ChosenEncoder(_made_anew(chosen, run), spent, loaded)
        config = known
    ready, warmed = with_warmup(config, sources, reporter, owner)
    if warmed is None:
        return ChosenEncoder(ready)
    return ChosenEncoder(ready, {"warmup": warmed} | judge_warmup(config, run, sources, reporter))


def plan_encoder(config: SelectConfig, sources: RunSources, reporter: Reporter, calibrated: bool) -> SelectConfig:
    """As `with_encoder`, for who only asks: OUT's choice, else the first candidate as a stand-in, which is said.

    Raises:
        InputError: as `with_encoder`; also if what follows is to be measured, and the warm-up is not there.
        CuratorError: as `with_encoder`.
    """
    run = RunDirectory(absolute(config.out))
    if config.is_measured:
        anew = config.redo in ("warmup", "measure")
        known = _known(config, run, sources, reporter, anew)
        config = known if known is not None else _stand_in(config, run, reporter)
    return plan_warmup(config, sources, reporter, calibrated)


def _stand_in(config: SelectConfig, run: RunDirectory, reporter: Reporter) -> SelectConfig:
    """The config with one of the encoders that would be measured: the one that OUT was begun with, else the first."""
    names, begun, redo = expanded(config.encoder), _begun_with(run), config.redo
    said = f"first the encoder would be chosen, by measuring {', '.join(names)} on your images: what follows is said "
    standing = _named(config, run, begun) if begun and redo == "measure" else None
    if standing is not None:
        reporter.say(f"{said}for {standing}, with which {run.url} was begun; another one would embed everything again")
        return config.model_copy(update={"encoder": [standing], "redo": None})
    reporter.say(f"{said}for {names[0]}")
    redo = "embed" if redo in ("warmup", "measure") else redo
    return config.model_copy(update={"encoder": names[:1], "redo": redo})


def _made_anew(config: SelectConfig, run: RunDirectory) -> SelectConfig:
    """The same, with everything started anew where OUT was begun with another encoder than the chosen one."""
    begun = _begun_with(run)
    if begun is None or (_named(config, run, begun) and begun[1] is None):
        return config
    return config.model_copy(update={"redo": "embed"})


def _begun_with(run: RunDirectory) -> tuple[str, str | None] | None:
    """The encoder and its weights with which a run directory was begun; None if it was not."""
    recorded = run.record.get("config", {})
    if not run.record.get("identities") or recorded.get("encoder") in (None, AUTO):
        return None
    return recorded["encoder"], recorded.get("weights")


def _named(config: SelectConfig, run: RunDirectory, begun: tuple[str, str | None]) -> str | None:
    """The encoder that another run recorded, as the settings name it; None where they do not."""
    names = {public_text(name): name for name in expanded(config.encoder)}
    if WARMUP in names:
        names[public_text(f"checkpoint:{run.path('encoder.pt')}")] = WARMUP
    return None if begun[1] is not None else names.get(begun[0])


def _started_anew(config: SelectConfig, run: RunDirectory) -> SelectConfig:
    """Throw away what is to be measured, or trained and measured, again.

    At once, and not by `run.start`: a run that is stopped while it trains goes on without `redo`.
    """
    if config.redo != "measure" and not (config.redo == "warmup" and config.is_measured):
        return config
    run.throw_away(config.redo)
    if run.record:
        run.save()
    return config.model_copy(update={"redo": None})


def _known(
    config: SelectConfig, run: RunDirectory, sources: RunSources, reporter: Reporter, anew: bool
) -> SelectConfig | None:
    """The config with the encoder that follows from what is there; None where one must be chosen (`anew`: again)."""
    if not any(source.holds_images for source in sources.everything):
        return config.model_copy(update={"encoder": [AUTO]})
    if any(source.is_ready for source in sources.everything):
        return _that_of_ready(config, run, sources, reporter)
    if anew:
        return None
    if begun := _begun_with(run):
        return _that_of_run(config, run, begun, reporter)
    outcome = kept_choice(run.url)
    if outcome is None:
        return None
    if outcome.encoder:
        standing = _named(config, run, (outcome.encoder, None)) or (outcome.encoder if AUTO in config.encoder else None)
        return follow(replace(outcome, encoder=standing), config, reporter) if standing else None
    # Other encoders than those that failed may do better.
    asked_again = list(outcome.asked) == [public_text(name) for name in config.encoder]
    return follow(outcome, config, reporter) if outcome.is_failure and asked_again else None


def _that_of_run(
    config: SelectConfig, run: RunDirectory, begun: tuple[str, str | None], reporter: Reporter
) -> SelectConfig:
    """The encoder that OUT was begun with, which stands unless the settings name others."""
    standing = begun if AUTO in config.encoder else (_named(config, run, begun), None)
    if standing[0] is None:
        raise InputError(
            f"{run.url} was begun with {begun[0]}{f' ({begun[1]})' if begun[1] else ''}, which is none of these",
            field="encoder",
            value=", ".join(config.encoder),
            advice=(Another("out"), Redo("measure")),
        )
    reporter.say(f"encoder {' or '.join(config.encoder)}: {begun[0]}, with which {run.url} was begun")
    return config.model_copy(update={"encoder": [standing[0]], "weights": standing[1]})


def _that_of_ready(config: SelectConfig, run: RunDirectory, sources: RunSources, reporter: Reporter) -> SelectConfig:
    """Ready embeddings beside images: the encoder of the run that made them."""
    ready = [source for source in sources.everything if source.is_ready]
    made_by = foreign_encoder(ready)
    value = ", ".join(config.encoder)
    if made_by is None or made_by[0] in (None, AUTO):
        raise InputError(
            f"{ready[0].url} is embeddings, and nothing says of which encoder: what stands beside it must come from it",
            field="encoder",
            value=value,
            advice=Use("encoder"),
        )
    if AUTO not in config.encoder and not _named(config, run, made_by):
        raise InputError(
            f"{ready[0].url} was embedded with {made_by[0]}, which is none of these, and what stands beside it must be "
            "too",
            field="encoder",
            value=value,
            advice=Use("encoder", made_by[0]),
        )
    source = ready[0].url.rsplit("/", 2)[0]
    reporter.say(f"encoder {' or '.join(config.encoder)}: {made_by[0]}, with which {source} was embedded")
    precision = (foreign_encoding(ready) or {}).get("precision") if config.precision == "auto" else None
    update = {"encoder": [made_by[0]], "weights": made_by[1], "precision": precision or config.precision}
    return config.model_copy(update=update)
