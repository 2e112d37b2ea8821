"""A training config with nothing unset: the same class, with what the machine and the samples decide."""

from __future__ import annotations

from typing import Any

from curator.encoders import resolve_device, resolve_precision
from curator.errors import InputError, Leave
from curator.io import absolute
from curator_ssl.backbones import full_name
from curator_ssl.config import ARCHITECTURES, BATCH_SIZE, CPU_SAMPLES_SEEN, IMAGE_SIZES, TrainConfig
from curator_ssl.data import Samples, make_schedule
from curator_ssl.loggers import check_loggers
from curator_ssl.methods import method_options
from curator_ssl.optim import OPTIMIZERS

__all__ = ["auto_epochs", "resolve_length", "resolve_machine"]

# The paper's code trains no longer than 100 epochs of ImageNet would take, and no more than 5,000 epochs.
MAX_SAMPLES_SEEN = 100 * 1_281_167
MAX_EPOCHS = 5000
MAX_LOADERS = 8


def resolve_machine(
    config: TrainConfig, ranks: int = 1, cores: int = 1, machine: tuple[str, str] | None = None
) -> TrainConfig:
    """Everything that does not depend on the samples, as a plain `TrainConfig` whatever subclass is given.

    Args:
        config: what was asked for.
        ranks: how many processes train together.
        cores: the CPU cores of each process.
        machine: the kind of device and the precision of the machine that trains, where that is another one; None where
            it is this one, which is looked at.

    Raises:
        InputError: a device, precision, method, option or package that is not there.
    """
    if machine is None:
        on = resolve_device(config.device)
        machine = on.type, resolve_precision(config.precision, on)
    device, precision = machine
    if config.sync_bn and device != "cuda":
        raise InputError(
            "this needs GPUs: torch has no synchronised batch norm on CPUs", field="sync_bn", advice=Leave("sync_bn")
        )
    check_loggers(config.log_to)
    optimizer = OPTIMIZERS[config.optimizer]
    return _with(
        config,
        out=absolute(config.out),
        arch=full_name(_given(config.arch, ARCHITECTURES[device])),
        method_option=method_options(config.method, config.method_option),
        image_size=_given(config.image_size, IMAGE_SIZES[device]),
        lr=_given(config.lr, optimizer.lr),
        weight_decay=_given(config.weight_decay, optimizer.weight_decay),
        device=device,
        precision=precision,
        loader_workers=_given(config.loader_workers, min(MAX_LOADERS, cores)),
        sync_bn=ranks > 1 and device == "cuda" and config.sync_bn is not False,
    )


def resolve_length(config: TrainConfig, samples: Samples, ranks: int = 1) -> TrainConfig:
    """How much a step takes and how long to train, which may depend on the samples: after it nothing is unset.

    Args:
        config: what `resolve_machine` gave.
        samples: what to train on.
        ranks: how many processes train together; a step is cut equally over them.

    Raises:
        InputError: fewer samples than a step needs, or a target share that leaves one set without images.
    """
    if config.batch_size is None:
        # Few images are all in every step.
        config = _with(config, batch_size=max(2, min(BATCH_SIZE, len(samples)) // ranks * ranks))
    epoch = make_schedule(config, samples).steps_per_epoch
    steps = _given(config.steps, max(1, round(_epochs(config, len(samples)) * epoch)))
    ramp = min(_given(config.lr_ramp, steps // 20), steps - 1)
    save_every = _given(config.save_every, epoch)
    return _with(config, steps=steps, epochs=steps / epoch, steps_per_epoch=epoch, lr_ramp=ramp, save_every=save_every)


def _epochs(config: TrainConfig, samples: int) -> float:
    if config.epochs is None and config.device == "cpu":
        return auto_epochs(samples, CPU_SAMPLES_SEEN)
    return auto_epochs(samples) if config.epochs is None or config.epochs == "auto" else config.epochs


def auto_epochs(samples: int, seen: int = MAX_SAMPLES_SEEN) -> int:
    """As many epochs as see `seen` samples, at least one and at most `MAX_EPOCHS`.

    >>> auto_epochs(1_281_167), auto_epochs(648)
    (100, 5000)
    """
    return max(1, min(MAX_EPOCHS, seen // max(samples, 1)))


def _given(value: Any, default: Any) -> Any:
    return default if value is None else value


def _with(config: TrainConfig, **values: Any) -> TrainConfig:
    kept = {name: getattr(config, name) for name in TrainConfig.model_fields}
    return TrainConfig.model_validate({name: value for name, value in (kept | values).items() if value is not None})
