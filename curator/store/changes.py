"""How the sources that a run is given differ from those that its parts were made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from curator.sources import Source
from curator.store.part_reader import Part
from curator.store.stored_parts import lost_text

__all__ = ["SourceChanges", "find_changes"]


@dataclass(frozen=True)
class SourceChanges:
    """Registered parts whose sources are not what they were. New sources are no change.

    Attributes:
        gone: those that are not given any more.
        changed: those of another size.
        touched: those of the same size and another version: written anew, perhaps with the same bytes.
        lost: those whose sources are as they were, and whose embeddings another run held and holds no more.
        known: how many parts there are.
        detail: the first of them, in words.
    """

    gone: tuple[Part, ...]
    changed: tuple[Part, ...]
    touched: tuple[Part, ...]
    known: int
    detail: str
    lost: tuple[Part, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.all_parts)

    @property
    def all_parts(self) -> tuple[Part, ...]:
        """The parts of all of them."""
        return (*self.gone, *self.changed, *self.touched, *self.lost)

    def text(self) -> str:
        """One line; empty if there is no change."""
        if not self:
            return ""
        counts = (
            (len(self.gone), "not given now"),
            (len(self.changed), "of another size"),
            (len(self.touched), "of another version"),
        )
        told = ", ".join(f"{count:,} {what}" for count, what in counts if count)
        texts = [f"{self.detail} (of {self.known:,} sources {told})"] if told else []
        return "; ".join([*texts, lost_text(self.lost)] if self.lost else texts)


def find_changes(known: Sequence[Part], sources: Sequence[Source]) -> SourceChanges:
    """Compare sources with the parts that were made before, retired ones aside."""
    given = {source.name: source for source in sources}
    active = [part for part in known if not part.is_retired]
    gone: list[Part] = []
    changed: list[Part] = []
    touched: list[Part] = []
    details: list[str] = []
    for part in active:
        source = given.get(part.url)
        if source is None:
            gone.append(part)
            details.append(f"{part.url} was used before and is not given now")
        elif source.stat != part.stat:
            (touched if source.stat.size == part.stat.size else changed).append(part)
            details.append(
                f"{part.url} changed: it had {part.stat.size} bytes (version {part.stat.version}), "
                f"now {source.stat.size} (version {source.stat.version})"
            )
    return SourceChanges(tuple(gone), tuple(changed), tuple(touched), len(active), details[0] if details else "")
