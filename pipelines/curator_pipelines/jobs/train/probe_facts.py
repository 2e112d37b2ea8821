"""What a reader of accuracies should know of the two sets: their classes, chance, images in both, labels of nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from curator.errors import counted
from curator_ssl.probe import Accuracy, Labelled, LabelRule, SampleName, unmatched_rows

__all__ = ["Classes", "Majority", "Overlap", "UnmatchedLabels", "count_classes", "find_overlap", "find_unmatched"]

# So many classes are named in a text.
NAMED = 8


@dataclass(frozen=True)
class Classes:
    """The classes of both sets.

    Attributes:
        counts: class -> its training and its test images; the class with the most training images first.
    """

    counts: dict[str, tuple[int, int]]

    @property
    def known(self) -> int:
        """How many the training set has."""
        return sum(train > 0 for train, _ in self.counts.values())

    @property
    def untrained(self) -> int:
        """Test images of classes that the training set does not have."""
        return sum(test for train, test in self.counts.values() if not train)

    def majority(self) -> Majority:
        """The answer of who looks at no image."""
        label, (_, test) = next(iter(self.counts.items()))
        tested = sum(test for _, test in self.counts.values())
        return Majority(label, Accuracy([test / tested], tested))

    def to_json(self) -> dict[str, Any]:
        """For machines: all of them."""
        return {label: {"train": train, "test": test} for label, (train, test) in self.counts.items()}

    def to_text(self) -> str:
        """For a person: the largest ones, with their training images."""
        named = [f"{label} {train:,}" for label, (train, _) in self.counts.items() if train]
        more = f" and {len(named) - NAMED:,} more" if len(named) > NAMED else ""
        return f"{', '.join(named[:NAMED])}{more}"


@dataclass(frozen=True)
class Majority:
    """The accuracy of always answering the most frequent training class.

    Attributes:
        label: that class; of equal ones the first by name.
        accuracy: on the test set.
    """

    label: str
    accuracy: Accuracy

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {"label": self.label} | self.accuracy.to_json()

    def to_text(self) -> str:
        """For a person."""
        return f"{self.accuracy.to_text()} by always answering {self.label}"


@dataclass(frozen=True)
class Overlap:
    """Images whose bytes are in both sets.

    Attributes:
        test: how many images of the test set.
        train: how many images of the training set.
        first: the first of the test set, and its like in the training set; None where there is none.
    """

    test: int = 0
    train: int = 0
    first: tuple[SampleName, SampleName] | None = None

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        first = self.first and {"test": _name(self.first[0]), "train": _name(self.first[1])}
        return {"test_images": self.test, "train_images": self.train, "first": first}

    def to_text(self) -> str:
        """For a person, where there is one."""
        if self.first is None:
            return ""
        (shard, key), (train_shard, train_key) = self.first
        verb = "is" if self.test == 1 else "are"
        return (
            f"{counted(self.test, 'test image')} {verb} in the training set too, byte for byte, the first {key} in "
            f"{shard} as {train_key} in {train_shard}"
        )


@dataclass(frozen=True)
class UnmatchedLabels:
    """Rows of a table of labels that name no sample of either set.

    Attributes:
        rows: how many.
        table: of how many.
        first: shard and key of the first, as the table has them; None where there is none.
    """

    rows: int = 0
    table: int = 0
    first: SampleName | None = None

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {"rows": self.rows, "of": self.table, "first": self.first and _name(self.first)}

    def to_text(self) -> str:
        """For a person, where there is one."""
        return f"{self.rows:,} of {self.table:,} rows match no sample, the first {self.first[1]}" if self.first else ""


def _name(name: SampleName) -> dict[str, str]:
    return {"shard": name[0], "key": name[1]}


def count_classes(train: Sequence[str], test: Sequence[str]) -> Classes:
    """Count the labels of the two sets."""
    of_train, of_test = Counter(train), Counter(test)
    labels = sorted({*of_train, *of_test}, key=lambda label: (-of_train[label], label))
    return Classes({label: (of_train[label], of_test[label]) for label in labels})


def find_overlap(train: Labelled, test: Labelled) -> Overlap:
    """Find the images that both sets use, by the hashes of their bytes."""
    first_of = dict(zip(reversed(train.hashes), reversed(train.names), strict=True))
    shared = [row for row, digest in enumerate(test.hashes) if digest in first_of]
    if not shared:
        return Overlap()
    digests = {test.hashes[row] for row in shared}
    example = (test.names[shared[0]], first_of[test.hashes[shared[0]]])
    return Overlap(len(shared), sum(digest in digests for digest in train.hashes), example)


def find_unmatched(rule: LabelRule, samples: Iterable[SampleName]) -> UnmatchedLabels:
    """Find the rows of the rule's table that name none of these samples; other rules have no table."""
    rows = unmatched_rows(rule, samples)
    return UnmatchedLabels(len(rows), len(rule.table), rows[0] if rows else None)
