"""`curator probe`: from labelled sources to accuracies."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from curator.encoders import Encoder, load_backbone, load_encoder
from curator.errors import Another, Change, InputError, TooManyBad
from curator.sources import Source
from curator_pipelines.config import ProbeConfig
from curator_pipelines.run import Reporter, estimate_samples
from curator_ssl.probe import (
    Accuracy,
    Labelled,
    LabelRule,
    embed_labelled,
    fine_tune,
    image_sources,
    knn_accuracy,
    label_subset,
    linear_probe,
    parse_label,
    pixel_batches,
    read_labels,
)

__all__ = ["ProbeResult", "run_probe"]

KS = (1, 20, 200)
LABEL_SHARE = 0.1


@dataclass
class ProbeResult:
    """The end of `curator probe`.

    Attributes:
        encoder: the encoder's name.
        classes: how many the training set has.
        counts: of `train` and `test`: samples seen, used, bad, without a label.
        new_classes: test samples of classes that the training set does not have; they count as wrong.
        accuracies: probe -> accuracy: `knn 1`, `linear`, `finetune`.
        chosen: the linear probe's regularisation with each seed.
    """

    encoder: str
    classes: int
    counts: dict[str, dict[str, Any]]
    new_classes: int
    accuracies: dict[str, Accuracy] = field(default_factory=dict)
    chosen: list[float] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "encoder": self.encoder,
            "classes": self.classes,
            **self.counts,
            "test_samples_of_new_classes": self.new_classes,
            "linear_regularisation": self.chosen,
            "probes": {name: accuracy.to_json() for name, accuracy in self.accuracies.items()},
        }

    def to_text(self) -> str:
        """For a person."""
        lines = [f"encoder     {self.encoder}, {self.classes:,} classes"]
        for name, count in self.counts.items():
            words = f"{count['seen']:,} samples seen, {count['used']:,} used, {count['bad']:,} bad"
            lines.append(f"{name:11} {words}, {count['unlabelled']:,} without a label")
        if self.new_classes:
            lines.append(f"new         {self.new_classes:,} test samples are of classes without a training image")
        return "\n".join(lines + [f"{name:11} {accuracy.to_text()}" for name, accuracy in self.accuracies.items()])


def run_probe(config: ProbeConfig, reporter: Reporter) -> ProbeResult:
    """Embed both sets and classify the test set.

    Raises:
        InputError: nothing there, no labels, or an encoder that cannot be had.
        TooManyBad: more bad samples than `max_bad` allows.
    """
    rule = parse_label(config.label)
    sets = {"train": image_sources(config.train, "train"), "test": image_sources(config.test, "test")}
    torch.set_num_threads(_cores())
    encoder = load_encoder(
        config.encoder,
        weights=config.weights,
        device=config.device,
        precision=config.precision,
        batch_size=config.batch_size,
    )
    train, test = (_embed(name, sources, encoder, rule, config, reporter) for name, sources in sets.items())
    names = {label: number for number, label in enumerate(sorted(set(train.labels)))}
    if len(names) < 2:
        raise InputError(f"it has {len(names)} class by the labels {config.label}; a probe needs two", field="train")
    # Classes that training does not have get numbers behind all others.
    known = len(names)
    for label in sorted(set(test.labels)):
        names.setdefault(label, len(names))
    train_labels, test_labels = (np.array([names[label] for label in side.labels]) for side in (train, test))
    counts = {"train": _counts(train), "test": _counts(test)}
    result = ProbeResult(config.encoder, known, counts, int((test_labels >= known).sum()))
    tested = len(test_labels)
    neighbours = knn_accuracy(train.features, train_labels, test.features, test_labels, KS)
    result.accuracies |= {f"knn {k}": Accuracy([share], tested) for k, share in neighbours.items()}
    seeds = range(config.seeds)
    linear = linear_probe(
        train.features, train_labels, test.features, test_labels, seeds=seeds, protocol=config.protocol
    )
    result.accuracies["linear"], result.chosen = Accuracy(linear.seeds, tested), linear.chosen
    if config.finetune:
        classes = (dict(zip(train.names, train_labels, strict=True)), dict(zip(test.names, test_labels, strict=True)))
        shares = [_fine_tune(config, encoder, sets, classes, seed, reporter) for seed in seeds]
        result.accuracies["finetune"] = Accuracy(shares, tested)
    return result


def _embed(
    name: str, sources: list[Source], encoder: Encoder, rule: LabelRule, config: ProbeConfig, reporter: Reporter
) -> Labelled:
    labels = read_labels(sources, rule)
    with reporter.stage(name, estimate_samples(sources, {}), "samples") as progress:
        labelled = embed_labelled(sources, encoder, labels, threads=_cores(), report=progress)
    if labelled.bad > config.max_bad * labelled.seen:
        raise TooManyBad(
            f"{labelled.bad} of {labelled.seen} samples are bad ({_reasons(labelled)}), more than the "
            f"{config.max_bad:.2%} allowed",
            field=name,
            advice=("inspect the sources", Change("max_bad", "higher")),
        )
    if not labelled.labels:
        raise InputError(
            f"no sample of {labelled.seen} has a label by the rule {config.label}", field=name, advice=Another("label")
        )
    if labelled.bad:
        reporter.warn(f"{name}: {labelled.bad} bad samples left out ({_reasons(labelled)})")
    if labelled.unlabelled:
        reporter.warn(f"{name}: {labelled.unlabelled} samples without a label left out")
    return labelled


def _reasons(labelled: Labelled) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in labelled.reasons.items())


def _counts(side: Labelled) -> dict[str, Any]:
    bad = {"bad": side.bad, "reasons": dict(side.reasons)}
    return {"seen": side.seen, "used": len(side.labels), "unlabelled": side.unlabelled, **bad}


def _fine_tune(
    config: ProbeConfig,
    encoder: Encoder,
    sets: dict[str, list[Source]],
    classes: tuple[dict[tuple[str, str], int], dict[tuple[str, str], int]],
    seed: int,
    reporter: Reporter,
) -> float:
    train, test = classes
    chosen = label_subset(np.array(list(train.values())), LABEL_SHARE, seed)
    few = {name: train[name] for name in (list(train)[row] for row in chosen)}
    size, threads = encoder.batch_size, _cores()
    loaded = list(pixel_batches(sets["train"], encoder.preprocess, few, batch_size=size, threads=threads))
    pixels, labels = (torch.cat(side) for side in zip(*loaded, strict=True))
    share = fine_tune(
        load_backbone(config.encoder, config.weights),
        pixels,
        labels,
        lambda: pixel_batches(sets["test"], encoder.preprocess, test, batch_size=size, threads=threads),
        seed=seed,
        device=encoder.device,
    )
    reporter.say(f"fine-tuned with {len(pixels)} images, seed {seed}: {share:.3f}")
    return share


def _cores() -> int:
    return len(os.sched_getaffinity(0))
