"""What a reader met that is no damage to a sample and that the user should know: counted, with an example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Remark", "Remarks"]


class Remark(StrEnum):
    """A kind of remark. Values are part of the format of done-marks."""

    DOTTED_KEYS = "dotted_keys"
    LINKS = "links"
    SPARSE = "sparse"
    UNHASHED = "unhashed"

    @property
    def text(self) -> str:
        """The remark in words, to be filled with `count` and `example`."""
        return _TEXTS[self]


_TEXTS = {
    Remark.DOTTED_KEYS: (
        "{count:,} images lie several in one sample, of which only the first is used: a key ends at the first dot of "
        "a name, as in webdataset, so {example}; if each is a sample of its own, name them without dots"
    ),
    Remark.LINKS: "{count:,} members beside images are links and were left out, the first {example}",
    Remark.SPARSE: "{count:,} members beside images have holes and were left out, the first {example}",
    Remark.UNHASHED: (
        "{count:,} samples do not stand together in their shards, the first {example}: when they are packed, of their "
        "bytes the images' are checked, and the shards' versions"
    ),
}


@dataclass
class Remarks:
    """Remarks by kind.

    Attributes:
        counts: how many of each kind.
        examples: the first of each kind.

    >>> remarks = Remarks()
    >>> remarks.add(Remark.LINKS, "a.txt")
    >>> remarks.add(Remark.LINKS, "b.txt")
    >>> remarks.texts()
    ['2 members beside images are links and were left out, the first a.txt']
    >>> Remarks.from_json(remarks.to_json()) == remarks
    True
    """

    counts: dict[Remark, int] = field(default_factory=dict)
    examples: dict[Remark, str] = field(default_factory=dict)

    def add(self, remark: Remark, example: str, count: int = 1) -> None:
        """Add to a kind; the example counts if it is the first of its kind."""
        self.counts[remark] = self.counts.get(remark, 0) + count
        self.examples.setdefault(remark, example)

    def update(self, other: Remarks) -> None:
        """Add all of another source's."""
        for remark, count in other.counts.items():
            self.add(remark, other.examples[remark], count)

    def texts(self) -> list[str]:
        """One sentence for each kind."""
        return [remark.text.format(count=n, example=self.examples[remark]) for remark, n in sorted(self.counts.items())]

    def to_json(self) -> dict[str, list[int | str]]:
        """As stored: kind -> count and example."""
        return {str(remark): [count, self.examples[remark]] for remark, count in sorted(self.counts.items())}

    @classmethod
    def from_json(cls, fields: Mapping[str, list[int | str]]) -> Remarks:
        """From its stored form."""
        remarks = cls()
        for name, (count, example) in fields.items():
            remarks.add(Remark(name), str(example), int(count))
        return remarks
