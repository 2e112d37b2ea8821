"""Which shards that cannot be read are their own damage."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from range_server import RangeServer

from curator.errors import CuratorError, UnusableInput
from curator.sources import Source, UnreadableShard, find_sources, read_source
from curator.store import DoneMark
from curator_pipelines.executors import FailuresInARow, Outcome, Task
from curator_pipelines.jobs.select.failed_shards import FailedShards
from curator_pipelines.run import Reporter
from curator_pipelines.stages import EmbedTask

EMPTY_TAR = bytes(10_240)
Answer = Callable[[str, str], int]


@pytest.fixture
def sources(web: RangeServer) -> Sequence[Source]:
    names = [f"{web.url}/{letter}.tar" for letter in "abcdefghijklmnopqrstuvwx"]
    for name in names:
        web.files[name.removeprefix(web.url)] = EMPTY_TAR
    return find_sources(names, "pool", folders=False)


def ended(source: Source, part: int) -> Outcome[EmbedTask, DoneMark]:
    task = Task(part, EmbedTask(source, part, "identity"))
    try:
        list(read_source(source))
    except UnreadableShard as error:
        return Outcome(task, error=error)
    return Outcome(task)


def denied(*letters: str) -> Answer:
    return lambda method, path: 403 if path[1] in "".join(letters) else 0


def embed(sources: Sequence[Source], failed: FailedShards) -> int:
    """Hand out all shards; returns how many were before the hand-out was stopped."""
    for part, source in enumerate(sources):
        try:
            failed.add(ended(source, part))
        except CuratorError:
            return part + 1
    return len(sources)


def new() -> FailedShards:
    return FailedShards("pool", None, Reporter())


def test_single_ones_are_damage(web: RangeServer, sources: Sequence[Source]) -> None:
    web.status = denied("a", "f", "x")
    failed = new()

    assert embed(sources, failed) == len(sources)

    assert sorted(failed.end()) == [0, 5, 23]


def test_many_in_a_row_are_damage_while_others_can_be_read(web: RangeServer, sources: Sequence[Source]) -> None:
    web.status = denied("bcdefghijklmnopqrstuv")
    failed = new()

    assert embed(sources, failed) == len(sources)

    assert len(failed.end()) == 21


def test_credentials_that_expire_stop_the_hand_out(web: RangeServer, sources: Sequence[Source]) -> None:
    failed = new()
    embed(sources[:5], failed)
    web.status = lambda method, path: 401

    assert embed(sources[5:], failed) == FailuresInARow.LIMIT

    with pytest.raises(CuratorError, match=r"a*\.tar, which was read before, cannot be read any more \(access denied"):
        failed.end()


def test_the_last_ones_are_looked_at_too(web: RangeServer, sources: Sequence[Source]) -> None:
    failed = FailedShards("pool", sources[0], Reporter())
    web.status = lambda method, path: 403
    embed(sources[:2], failed)

    with pytest.raises(CuratorError, match="not for the 2 others"):
        failed.end()


def test_denied_before_anything_was_read_is_the_users_mistake(web: RangeServer, sources: Sequence[Source]) -> None:
    web.status = lambda method, path: 403
    failed = new()

    assert embed(sources, failed) == FailuresInARow.LIMIT

    with pytest.raises(UnusableInput, match="nothing could be read yet"):
        failed.end()


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_that_fails_is_no_damage(web: RangeServer, sources: Sequence[Source], status: int) -> None:
    web.status = lambda method, path: status if path == "/c.tar" else 0
    failed = new()

    assert embed(sources, failed) == len(sources)

    assert not failed.unreadable
    with pytest.raises(CuratorError, match=rf"^pool: .*c\.tar.*HTTP {status}") as caught:
        failed.end()
    assert caught.value.exit_code == 1


def test_shards_that_were_given_up_are_named(sources: Sequence[Source]) -> None:
    failed = new()
    for part in range(7):
        task = Task(part, EmbedTask(sources[part], part, "identity"), 3)
        failed.add(Outcome(task, error=CuratorError("workers died of it"), lost=True))

    with pytest.raises(
        CuratorError, match=r"pool: 7 shards kill their workers, all else is done: .*a\.tar.*e\.tar, \.\.\.; the"
    ):
        failed.end()


def test_not_all_else_is_done_where_others_failed_in_another_way(sources: Sequence[Source]) -> None:
    failed = new()
    tasks = [Task(part, EmbedTask(sources[part], part, "identity"), 3) for part in range(3)]
    failed.add(Outcome(tasks[0], error=CuratorError("workers died of it"), lost=True))
    failed.add(Outcome(tasks[1], error=OSError(28, "the disk is full")))
    failed.add(Outcome(tasks[2], error=CuratorError("workers died of it"), lost=True))

    with pytest.raises(CuratorError, match=r"^pool: .*the disk is full \(and 2 other shards failed\)$"):
        failed.end()


def test_other_failures_in_a_row_stop_too(sources: Sequence[Source]) -> None:
    failed = new()
    outcomes = [
        Outcome[EmbedTask, DoneMark](Task(part, EmbedTask(sources[part], part, "x")), error=OSError(28, f"part {part}"))
        for part in range(12)
    ]
    for outcome in outcomes[:9]:
        failed.add(outcome)
    with pytest.raises(CuratorError, match=r"10 shards in a row failed alike, the last: .*part 9"):
        failed.add(outcomes[9])
