"""Pieces that are put together by list: nothing is lost or doubled, and a list is read in few places."""

from pathlib import Path

import numpy as np
import pytest

from curator.errors import UnusableInput
from curator.index import (
    IndexPiece,
    IndexStore,
    build_piece,
    merge,
    merge_lists,
    merge_tasks,
    next_merge,
    select_ivf,
    store,
    train_codec,
)
from curator.io import part_files, storage
from curator.selection import Rules
from curator.store.done_mark import DoneMark
from curator.store.part_store import PartStore

RULES = Rules(budget=200)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """A piece a part, and some hundred rows in a piece of a merge."""
    monkeypatch.setattr(store, "PIECE_BYTES", 1)
    monkeypatch.setattr(merge, "PIECE_BYTES", 10_000)


@pytest.fixture(params=["Flat", "SQ8"])
def grown(request, made, tmp_path):
    """A pool of one part, and an index without pieces; `grown(part)` adds a part and its piece."""
    pool, index = PartStore(str(tmp_path / "pool")), IndexStore(str(tmp_path / "index"))
    rows = np.concatenate([rows for _, rows in made.pool.content])
    codec = None if request.param == "Flat" else train_codec("SQ8", rows[:4000].astype(np.float32), made.quantiser)
    index.create(made.quantiser, codec, request.param, 0.05, 0)
    parts = np.array_split(rows[:1300], 13)

    def grow(*numbers, identity=""):
        for part in numbers:
            name = identity or f"{part:016x}"
            path = Path(part_files.array_url(pool.url, part, name))
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, parts[part][:: -1 if identity else 1])
            pool.mark(part, name, DoneMark(100, 100, 24, {}, []))
        now = PartStore(pool.url)
        for plan in index.missing_pieces(now):
            own = [(part, now.vectors(part)) for part in plan.parts]
            index.mark(plan, build_piece(index.piece_url(plan.number), own, made.quantiser, 0.05, codec))

    grow.pool, grow.index, grow.codec, grow.parts = pool, index, codec, parts
    return grow


def put_together(grown, most=None):
    """Do what is to be done; how many pieces were written."""
    index = grown.index
    planned = next_merge(index)
    if planned is None:
        return 0
    tasks = list(merge_tasks(index, planned))
    for task in tasks[:most]:
        merge_lists(index.merged_url(task.merge, task.number), task, len(index.quantiser().centroids), grown.codec)
    if most is None:
        index.finish_merge(planned)
    return len(tasks[:most])


def pieces_of(grown):
    return [IndexPiece.open(url, grown.codec) for url in grown.index.open().pieces]


def ids_of(grown):
    return sorted(np.concatenate([piece.ids for piece in pieces_of(grown)]).tolist())


def every_id(*parts):
    return [part << 32 | row for part in parts for row in range(100)]


def chosen(grown, made):
    def read_rows(ids):
        return np.stack([PartStore(grown.pool.url).vectors(row >> 32)[row & 0xFFFFFFFF] for row in ids.tolist()])

    return select_ivf(grown.index.open(), made.centroids, RULES, recall=0.9, read_rows=read_rows)


def same(one, other):
    np.testing.assert_array_equal(one[0].ids, other[0].ids)
    np.testing.assert_array_equal(one[0].scores, other[0].scores)
    assert one[1] == other[1]


def test_two_pieces_stay_as_they_are(grown):
    grown(0, 1)
    assert next_merge(grown.index) is None


def test_a_list_lies_in_two_places_at_the_most_and_the_answer_is_the_same(grown, made):
    grown(*range(13))
    before = chosen(grown, made)

    assert put_together(grown) > 2

    lists = np.zeros(len(made.quantiser.centroids), int)
    for piece in pieces_of(grown):
        lists += piece.list_sizes > 0
    assert lists.max() == 2
    assert ids_of(grown) == every_id(*range(13))
    same(chosen(grown, made), before)
    assert next_merge(grown.index) is None
    # Of twelve pieces what they tell of lists is left, of one its rows too.
    names = [sorted(path.name for path in folder.iterdir()) for folder in Path(grown.index.url, "pieces").iterdir()]
    assert sorted(map(len, names)) == [2] * 12 + [5]
    assert ["lists.npz", "sample.npz"] in names


def test_each_row_lies_in_its_list_in_the_order_of_ids(grown, made):
    grown(*range(13))
    put_together(grown)
    for piece in pieces_of(grown):
        own = np.repeat(np.arange(len(piece.list_sizes)), piece.list_sizes)
        rows = np.stack([grown.parts[row >> 32][row & 0xFFFFFFFF] for row in piece.ids.tolist()])
        np.testing.assert_array_equal(made.quantiser.assign(rows), own)
        assert (np.diff(own << np.int64(48) | (piece.ids >> 32) << 8 | piece.ids & 0xFF) > 0).all()
        expected = grown.codec.encode(rows, own) if grown.codec else rows
        np.testing.assert_array_equal(piece.stored, expected)


def test_pieces_that_are_added_join_the_smallest(grown, made):
    grown(*range(10))
    put_together(grown)
    grown(10)
    assert put_together(grown) > 0
    assert ids_of(grown) == every_id(*range(11))
    # The merge of nine is the largest run, and was not written again.
    assert sorted(len(own.built) for own in grown.index.merges()) == [2, 9]
    folders = list(Path(grown.index.url, "merged").iterdir())
    assert sorted(folder.name for folder in folders) == sorted(own.name for own in grown.index.merges())


@pytest.mark.parametrize("gone", [range(2, 9), [4], range(13)])
def test_parts_that_are_gone_or_made_anew_leave_no_row_behind(grown, made, gone):
    grown(*range(13))
    put_together(grown)
    for part in gone:
        storage.remove(grown.pool.done_url(part, f"{part:016x}"))
    anew = min(gone)
    outdated = grown.index.outdated(PartStore(grown.pool.url))
    assert outdated == list(gone)
    grown.index.remove_pieces(outdated)
    with pytest.raises(UnusableInput, match="half brought up to date: index the pool once more"):
        grown.index.open()

    grown(anew, identity="a" * 16)
    put_together(grown)

    assert ids_of(grown) == every_id(*sorted({*range(13)} - {*gone} | {anew}))
    rows = [row for piece in pieces_of(grown) for row in zip(piece.ids.tolist(), piece.stored, strict=True)]
    if grown.codec is None:
        mine = [row for number, row in sorted(rows, key=lambda pair: pair[0]) if number >> 32 == anew]
        np.testing.assert_array_equal(mine, grown.parts[anew][::-1])


def test_what_was_written_before_a_kill_is_not_written_again(grown, made):
    grown(*range(13))
    before = chosen(grown, made)
    put_together(grown, most=2)
    same(chosen(grown, made), before)
    assert next(task.number for task in merge_tasks(grown.index, next_merge(grown.index))) == 2
    put_together(grown)
    same(chosen(grown, made), before)


def test_what_another_plan_left_goes(grown):
    grown(*range(12))
    put_together(grown, most=1)
    grown(12)
    put_together(grown)
    assert len(list(Path(grown.index.url, "merged").iterdir())) == 1
    assert ids_of(grown) == every_id(*range(13))


def test_rows_are_removed_later_where_a_kill_came_between(grown, monkeypatch):
    grown(*range(13))
    with monkeypatch.context() as patch:
        patch.setattr(store, "row_files", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            put_together(grown)
    assert ids_of(grown) == every_id(*range(13))
    left = set(Path(grown.index.url, "pieces").glob("*/ids.npy"))
    grown.index.sweep()
    assert len(left) == 13 and len(list(Path(grown.index.url, "pieces").glob("*/ids.npy"))) == 1
    assert ids_of(grown) == every_id(*range(13))
