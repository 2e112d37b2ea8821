"""`curator probe`: from labelled sources to accuracies."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from curator.encoders import Encoder, load_backbone, load_encoder
from curator.errors import Another, InputError
from curator.sources import Source, count_left_out, in_words
from curator.store import check_max_bad
from curator_pipelines.config import ProbeConfig
from curator_pipelines.run import Reporter, estimate_samples
from curator_ssl.probe import (
    Accuracy,
    Labelled,
    LabelRule,
    SampleName,
    embed_labelled,
    fine_tune,
    image_sources,
    knn_accuracy,
    label_hint,
    label_subset,
    linear_probe,
    parse_label,
    pixel_batches,
    read_labels,
    unmatched_rows,
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
        counts: of `train` and `test`: samples seen, used, bad, without a label; files left out by ending.
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
            left_out = in_words([*count["left_out"].items()])
            lines.append(f"{name:11} {words}, {count['unlabelled']:,} without a label{left_out}")
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
    labels = {name: _read_labels(name, listed, rule, config, reporter) for name, listed in sets.items()}
    if unmatched := unmatched_rows(rule, [sample for side in labels.values() for sample in side]):
        first = unmatched[0][1]
        reporter.say(f"labels: {len(unmatched):,} of {len(rule.table):,} rows match no sample, the first {first}")
    torch.set_num_threads(_cores())
    encoder = load_encoder(
        config.encoder,
        weights=config.weights,
        device=config.device,
        precision=config.precision,
        batch_size=config.batch_size,
    )
    train, test = (_embed(name, listed, encoder, labels[name], config, reporter) for name, listed in sets.items())
    names = {label: number for number, label in enumerate(sorted(set(train.labels)))}
    if len(names) < 2:
        label, (_, key) = train.labels[0], train.names[0]
        raise InputError(
            f"by the labels {config.label} it has one class, {label} (so {key}); a probe needs two", field="train"
        )
    # Classes that training does not have get numbers behind all others.
    known = len(names)
    for label in sorted(set(test.labels)):
        names.setdefault(label, len(names))
    train_labels, test_labels = (np.array([names[label] for label in side.labels]) for side in (train, test))
    counts = {name: _counts(side, sets[name]) for name, side in (("train", train), ("test", test))}
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


def _read_labels(
    name: str, sources: list[Source], rule: LabelRule, config: ProbeConfig, reporter: Reporter
) -> dict[SampleName, str]:
    reporter.say(f"{name}: reading the labels")
    labels = read_labels(sources, rule)
    if not labels:
        raise InputError(
            f"no sample has a label by the rule {config.label}: {label_hint(sources, rule)}",
            field=name,
            advice=Another("label"),
        )
    return labels


def _embed(
    name: str,
    sources: list[Source],
    encoder: Encoder,
    labels: dict[SampleName, str],
    config: ProbeConfig,
    reporter: Reporter,
) -> Labelled:
    with reporter.stage(name, estimate_samples(sources, {}), "samples") as progress:
        labelled = embed_labelled(sources, encoder, labels, threads=_cores(), report=progress)
    check_max_bad(len(labelled.bad), labelled.seen, config.max_bad, f"{name} set", labelled.bad)
    if not labelled.labels:
        raise InputError(
            f"no good sample of {labelled.seen} has a label by the rule {config.label}",
            field=name,
            advice=Another("label"),
        )
    if labelled.bad:
        reporter.warn(f"{name}: {len(labelled.bad):,} bad samples left out ({_reasons(labelled)})")
    if labelled.unlabelled:
        shard, key = labelled.unlabelled[0]
        count = len(labelled.unlabelled)
        reporter.warn(f"{name}: {count:,} samples without a label left out, the first {key} in {shard}")
    for text in labelled.remarks.texts():
        reporter.warn(f"{name}: {text}")
    return labelled


def _reasons(labelled: Labelled) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in labelled.reasons.items())


def _counts(side: Labelled, sources: list[Source]) -> dict[str, Any]:
    return {
        "seen": side.seen,
        "used": len(side.labels),
        "unlabelled": len(side.unlabelled),
        "bad": len(side.bad),
        "reasons": side.reasons,
        "left_out": count_left_out(sources),
    }


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
