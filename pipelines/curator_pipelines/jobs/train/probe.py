"""`curator probe`: from labelled sources to accuracies."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from curator.encoders import Encoder, load_backbone, load_encoder
from curator.errors import Another, InputError
from curator.io import absolute, storage
from curator.sources import Source, count_left_out
from curator.store import check_max_bad
from curator_pipelines.config import ProbeConfig
from curator_pipelines.jobs.train.classify import Side, classify
from curator_pipelines.jobs.train.predictions import write_predictions
from curator_pipelines.jobs.train.probe_facts import count_classes, find_overlap, find_unmatched
from curator_pipelines.jobs.train.probe_result import ProbeResult
from curator_pipelines.run import Reporter, estimate_samples
from curator_ssl.probe import (
    Accuracy,
    Labelled,
    LabelRule,
    SampleName,
    embed_labelled,
    fine_tune,
    image_sources,
    label_hint,
    label_subset,
    parse_label,
    pixel_batches,
    read_labels,
)

__all__ = ["run_probe"]

# Of the labels, to fine-tune with where nothing else is asked for: the paper's.
FINE_TUNE_SHARE = 0.1


def run_probe(config: ProbeConfig, reporter: Reporter) -> ProbeResult:
    """Embed both sets and classify the test set.

    Raises:
        InputError: nothing there, no labels, or an encoder that cannot be had.
        TooManyBad: more bad samples than `max_bad` allows.
    """
    rule = parse_label(config.label)
    predictions = config.predictions and absolute(config.predictions)
    if predictions:
        storage.check_writable(predictions, "predictions")
    sets = {"train": image_sources(config.train, "train"), "test": image_sources(config.test, "test")}
    labels = {name: _read_labels(name, listed, rule, config, reporter) for name, listed in sets.items()}
    unmatched = find_unmatched(rule, [sample for side in labels.values() for sample in side])
    if unmatched.rows:
        reporter.say(f"labels: {unmatched.to_text()}")
    torch.set_num_threads(_cores())
    encoder = load_encoder(
        config.encoder,
        weights=config.weights,
        device=config.device,
        precision=config.precision,
        batch_size=config.batch_size,
    )
    train, test = (_embed(name, listed, encoder, labels[name], config, reporter) for name, listed in sets.items())
    numbers = _numbers(train, test, config)
    overlap = find_overlap(train, test)
    if overlap.test:
        reporter.warn(f"{overlap.to_text()}; none was left out")
    counts = {name: _counts(side, sets[name]) for name, side in (("train", train), ("test", test))}
    result = ProbeResult(config.encoder, count_classes(train.labels, test.labels), counts, unmatched, overlap)
    sides = [Side(side.features, np.array([numbers[label] for label in side.labels])) for side in (train, test)]
    seeds, share = range(config.seeds), config.label_share
    classified = classify(*sides, seeds=seeds, share=1.0 if share is None else share, protocol=config.protocol)
    result.accuracies, result.chosen = classified.accuracies, classified.chosen
    result.labels = {"knn": classified.labels, "linear": classified.labels}
    if predictions:
        result.predictions = predictions
        write_predictions(predictions, test, classified, list(numbers))
    if config.finetune:
        classes = [
            dict(zip(names, side.classes, strict=True))
            for names, side in zip((train.names, test.names), sides, strict=True)
        ]
        tuned = [_fine_tune(config, encoder, sets, classes, seed, reporter) for seed in seeds]
        result.accuracies["finetune"] = Accuracy([accuracy for accuracy, _ in tuned], len(test.labels))
        result.labels["finetune"] = tuned[0][1]
    return result


def _numbers(train: Labelled, test: Labelled, config: ProbeConfig) -> dict[str, int]:
    """Label -> class: those of training by name, and behind all of them those that only the test set has."""
    known = sorted(set(train.labels))
    if len(known) < 2:
        label, (_, key) = train.labels[0], train.names[0]
        raise InputError(
            f"by the labels {config.label} it has one class, {label} (so {key}); a probe needs two", field="train"
        )
    return {label: number for number, label in enumerate([*known, *sorted(set(test.labels) - set(known))])}


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
    classes: Sequence[Mapping[SampleName, int]],
    seed: int,
    reporter: Reporter,
) -> tuple[float, int]:
    """The accuracy with one seed, and of how many labels."""
    train, test = classes
    part = FINE_TUNE_SHARE if config.label_share is None else config.label_share
    names = list(train)
    few = {names[row]: train[names[row]] for row in label_subset(np.array(list(train.values())), part, seed)}
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
    return share, len(pixels)


def _cores() -> int:
    return len(os.sched_getaffinity(0))
