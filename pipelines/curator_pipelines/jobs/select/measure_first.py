"""The encoder of a selection: the one that is named, the one that OUT has, or the one that a measurement chooses."""

from __future__ import annotations

from curator.encoders import ready_encoders
from curator.errors import InputError, Use
from curator.io import Owner, absolute
from curator_pipelines.config import AUTO, SelectConfig
from curator_pipelines.jobs.select.encoding import foreign_encoder, foreign_encoding
from curator_pipelines.jobs.select.measure_choice import choose_encoder, follow, judge_warmup
from curator_pipelines.jobs.select.measure_store import kept_verdict
from curator_pipelines.jobs.select.run_sources import RunSources
from curator_pipelines.jobs.select.warmup_first import plan_warmup, with_warmup
from curator_pipelines.run import Reporter, RunDirectory

__all__ = ["plan_encoder", "with_encoder"]


def with_encoder(
    config: SelectConfig, sources: RunSources, reporter: Reporter, owner: Owner
) -> tuple[SelectConfig, dict[str, float]]:
    """A selection's config with an encoder in it that is ready; what must be measured or trained for that is done.

    Args:
        config: of the selection.
        sources: what its target, pool and evaluation set stand for.
        reporter: is told of the choice.
        owner: this process as OUT's owner.

    Returns:
        the config, which names `auto` still only where nothing is left to encode; and the seconds of each stage.

    Raises:
        InputError: what can be found before work starts.
        CuratorError: no encoder can tell the target from the pool; OUT/measure says so from then on.
    """
    run = RunDirectory(absolute(config.out), owner)
    run.check_ours()
    run.check_targets(list(sources.targets))
    chooses_anew = config.redo == "measure"
    config = _started_anew(config, run)
    if config.encoder == AUTO:
        known = _known(config, run, sources, reporter, chooses_anew)
        if known is None:
            chosen, seconds = choose_encoder(config, run, sources, reporter, owner)
            return _made_anew(chosen, run), seconds
        config = known
    ready, warmed = with_warmup(config, sources, reporter, owner)
    if warmed is None:
        return ready, {}
    return ready, {"warmup": warmed} | judge_warmup(config, run, sources, reporter)


def plan_encoder(config: SelectConfig, sources: RunSources, reporter: Reporter, calibrated: bool) -> SelectConfig:
    """As `with_encoder`, for who only asks: OUT's choice, else the first candidate as a stand-in, which is said.

    Raises:
        InputError: as `with_encoder`; also if what follows is to be measured, and the warm-up is not there.
        CuratorError: as `with_encoder`.
    """
    run = RunDirectory(absolute(config.out))
    if config.encoder == AUTO:
        anew = config.redo in ("warmup", "measure")
        known = _known(config, run, sources, reporter, anew)
        if known is None:
            candidates = ready_encoders()
            reporter.say(
                f"first the encoder would be chosen, by measuring {', '.join(candidates)} on your images: what follows "
                f"is said for {candidates[0]}"
            )
            redo = "embed" if anew else config.redo
            return config.model_copy(update={"encoder": candidates[0], "redo": redo})
        config = known
    return plan_warmup(config, sources, reporter, calibrated)


def _made_anew(config: SelectConfig, run: RunDirectory) -> SelectConfig:
    """The same, with everything started anew where OUT was begun with another encoder than the chosen one."""
    begun = _begun_with(run)
    return config if begun in (None, (config.encoder, None)) else config.model_copy(update={"redo": "embed"})


def _begun_with(run: RunDirectory) -> tuple[str, str | None] | None:
    """The encoder and its weights with which a run directory was begun; None if it was not."""
    recorded = run.record.get("config", {})
    if not run.record.get("identities") or recorded.get("encoder") in (None, AUTO):
        return None
    return recorded["encoder"], recorded.get("weights")


def _started_anew(config: SelectConfig, run: RunDirectory) -> SelectConfig:
    """Throw away what is to be measured, or trained and measured, again.

    At once, and not by `run.start`: a run that is stopped while it trains goes on without `redo`.
    """
    if config.redo != "measure" and not (config.redo == "warmup" and config.encoder == AUTO):
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
        return config
    if any(source.is_ready for source in sources.everything):
        return _that_of_ready(config, sources, reporter)
    if anew:
        return None
    if begun := _begun_with(run):
        reporter.say(f"encoder auto: {begun[0]}, with which {run.url} was begun")
        return config.model_copy(update={"encoder": begun[0], "weights": begun[1]})
    verdict = kept_verdict(run.url)
    if verdict is None or not (verdict.encoder or verdict.is_failure):
        return None
    return follow(verdict, config, run, reporter)


def _that_of_ready(config: SelectConfig, sources: RunSources, reporter: Reporter) -> SelectConfig:
    """Ready embeddings beside images: the encoder of the run that made them."""
    ready = [source for source in sources.everything if source.is_ready]
    made_by = foreign_encoder(ready)
    if made_by is None or made_by[0] in (None, AUTO):
        raise InputError(
            f"{ready[0].url} is embeddings, and nothing says of which encoder: what stands beside it must come from it",
            field="encoder",
            value=AUTO,
            advice=Use("encoder"),
        )
    reporter.say(f"encoder auto: {made_by[0]}, with which {ready[0].url.rsplit('/', 2)[0]} was embedded")
    precision = (foreign_encoding(ready) or {}).get("precision") if config.precision == "auto" else None
    update = {"encoder": made_by[0], "weights": made_by[1], "precision": precision or config.precision}
    return config.model_copy(update=update)
