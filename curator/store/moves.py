"""Sources that moved since they were first seen: their parts keep the names, and know where to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from curator.errors import InputError
from curator.io import absolute, public_name
from curator.sources import Source
from curator.store.part_reader import Part

__all__ = ["Move", "moved", "named_as_first_seen", "parse_moves"]


@dataclass(frozen=True, slots=True)
class Move:
    """What lay at `old` or below it lies at `new` or below it."""

    old: str
    new: str

    def apply(self, url: str) -> str | None:
        """The new URL of what lay there; None for anything else. `/data` holds `/data/a.tar`, and not `/database`."""
        rest = url.removeprefix(self.old)
        is_below = url.startswith(self.old) and (not rest or rest.startswith("/"))
        return self.new + rest if is_below else None


def parse_moves(texts: Sequence[str], known: Sequence[str]) -> list[Move]:
    """Read `OLD=NEW`; where a path holds a `=` itself, the one that leaves an OLD which is in use is meant.

    Args:
        texts: as they were given.
        known: the URLs that are in use.

    Raises:
        InputError: there is no `=`; nothing in use lies at OLD or below; or NEW holds a secret.
    """
    return [_parse(text, known) for text in texts]


def _parse(text: str, known: Sequence[str]) -> Move:
    cuts = [place for place, letter in enumerate(text) if letter == "=" and 0 < place < len(text) - 1]
    if not cuts:
        raise InputError("give OLD=NEW", field="moves", value=text)
    moves = [Move(absolute(text[:cut]), absolute(text[cut + 1 :])) for cut in cuts]
    used = [move for move in moves if any(move.apply(url) is not None for url in known)]
    if len(used) != 1:
        first = f", such as {known[0]}" if known else ""
        what = "no source of this run lies there" if not used else "it can be read in several ways"
        raise InputError(
            f"{what}{first}", field="moves", value=text, advice="give OLD=NEW, with OLD as the run knows it"
        )
    (move,) = used
    if public_name(move.new) != move.new:
        raise InputError(
            "a secret in a URL is not written down", field="moves", value=text, advice="give it without the secret"
        )
    return move


def moved(moves: Sequence[Move], first: str, now: str) -> str | None:
    """Where something lies after the moves; None if none of them speaks of it.

    A move names the place where it lies now, or the one where it was first seen. The longest of several counts.

    Args:
        moves: all of them.
        first: its URL when it was first seen.
        now: its URL before the moves.
    """
    ordered = sorted(moves, key=lambda move: -len(move.old))
    from_first, from_now = (next((new for move in ordered if (new := move.apply(url))), None) for url in (first, now))
    # Said again, it is where it should be.
    return now if from_first == now else from_now or from_first


def named_as_first_seen(sources: Sequence[Source], parts: Sequence[Part]) -> list[Source]:
    """Sources under the names that their parts have, those of parts that moved by where they are read now.

    A source that is as it was found when it moved has the version that it was first seen with.
    """
    active = [part for part in parts if not part.is_retired]
    by_place = {part.read_url: part for part in active if part.read_url}
    by_name = {part.url: part for part in active if part.read_url}
    return [_named(source, by_place, by_name) for source in sources] if by_place else list(sources)


def _named(source: Source, by_place: dict[str, Part], by_name: dict[str, Part]) -> Source:
    if source.mark:
        # Another run's part: where its source is read is known here, if not there.
        part = by_name.get(source.name)
        if part is None or source.read_url:
            return source
        return replace(source, read_url=part.read_url, read_version=part.read_version)
    part = by_place.get(source.name)
    if part is None:
        return source
    stat = part.stat if source.stat == part.source_stat else source.stat
    return replace(source, name=part.url, stat=stat, read_url=source.name, read_version=source.stat.version)
