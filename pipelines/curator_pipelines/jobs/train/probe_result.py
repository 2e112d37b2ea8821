"""What `curator probe` ends with, for people and for machines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from curator.sources import in_words
from curator_pipelines.jobs.train.probe_facts import Classes, Overlap, UnmatchedLabels
from curator_ssl.probe import Accuracy

__all__ = ["ProbeResult"]


@dataclass
class ProbeResult:
    """The end of `curator probe`.

    Attributes:
        encoder: the encoder's name.
        classes: of both sets; test samples of classes that the training set does not have count as wrong.
        counts: of `train` and `test`: samples seen, used, bad, without a label; files left out by ending.
        unmatched: labels of a table that match no sample.
        overlap: images that are in both sets.
        labels: probe -> how many training labels it learned from, with each seed.
        accuracies: probe -> accuracy: `knn 1`, `linear`, `finetune`.
        chosen: the linear probe's regularisation with each seed.
        predictions: URL of the file with the predictions; None where none was asked for.
    """

    encoder: str
    classes: Classes
    counts: dict[str, dict[str, Any]]
    unmatched: UnmatchedLabels
    overlap: Overlap
    labels: dict[str, int] = field(default_factory=dict)
    accuracies: dict[str, Accuracy] = field(default_factory=dict)
    chosen: list[float] = field(default_factory=list)
    predictions: str | None = None

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "encoder": self.encoder,
            "classes": self.classes.known,
            "class_counts": self.classes.to_json(),
            **self.counts,
            "test_samples_of_new_classes": self.classes.untrained,
            "unmatched_labels": self.unmatched.to_json(),
            "overlap": self.overlap.to_json(),
            "labels_used": self.labels,
            "linear_regularisation": self.chosen,
            "majority": self.classes.majority().to_json(),
            "probes": {name: accuracy.to_json() for name, accuracy in self.accuracies.items()},
            "predictions": self.predictions,
        }

    def to_text(self) -> str:
        """For a person."""
        lines = [
            f"encoder     {self.encoder}, {self.classes.known:,} classes",
            f"classes     {self.classes.to_text()}",
        ]
        for name, count in self.counts.items():
            words = f"{count['seen']:,} samples seen, {count['used']:,} used, {count['bad']:,} bad"
            left_out = in_words([*count["left_out"].items()])
            lines.append(f"{name:11} {words}, {count['unlabelled']:,} without a label{left_out}")
        if self.unmatched.rows:
            lines.append(f"unmatched   {self.unmatched.to_text()}")
        if self.overlap.test:
            lines.append(f"overlap     {self.overlap.to_text()}")
        if new := self.classes.untrained:
            lines.append(f"new         {new:,} test samples are of classes without a training image")
        lines.append(f"labels      {self._labels_in_words()}")
        lines.append(f"majority    {self.classes.majority().to_text()}")
        lines += [f"{name:11} {accuracy.to_text()}" for name, accuracy in self.accuracies.items()]
        if self.predictions is not None:
            lines.append(f"predictions {self.predictions}")
        return "\n".join(lines)

    def _labels_in_words(self) -> str:
        used = ", ".join(f"{name} {count:,}" for name, count in self.labels.items())
        return f"{used} of {self.counts['train']['used']:,} training labels"
