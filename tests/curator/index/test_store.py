from pathlib import Path

import numpy as np
import pytest

from curator.errors import InputError, UnusableInput
from curator.index import (
    Factory,
    IndexPiece,
    IndexStore,
    build_piece,
    parse_factory,
    select_ivf,
    store,
    train_codec,
    train_quantiser,
)
from curator.index.pieces import SAMPLE_SEED
from curator.index.quantiser import sample_rows
from curator.io import part_files, storage
from curator.search import priorities
from curator.search.scoring import exact_scores
from curator.selection import Rules, select_simcore
from curator.store.done_mark import DoneMark
from curator.store.part_store import PartStore


@pytest.fixture
def stores(made, tmp_path):
    """A pool of the first four parts of `made`, and an index of it without pieces."""
    pool, index = PartStore(str(tmp_path / "pool")), IndexStore(str(tmp_path / "index"))
    for part, rows in made.pool.content[:4]:
        # Metadata has no say in an index.
        add_part(pool, part, rows)
    index.create(made.quantiser, None, "Flat", 0.05, 0)
    return pool, index


def add_part(pool, part, rows, identity=""):
    identity = identity or f"{part:016x}"
    path = Path(part_files.array_url(pool.url, part, identity))
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, rows)
    pool.mark(part, identity, DoneMark(len(rows), len(rows), 24, {}, []))


def build(index, pool, plan):
    parts = [(part, pool.vectors(part)) for part in plan.parts]
    index.mark(plan, build_piece(index.piece_url(plan.number), parts, index.quantiser(), 0.05, index.codec()))


def test_a_piece_holds_every_row_once_in_its_list(made):
    ids = np.concatenate([piece.ids for piece in made.pieces])
    assert len(np.unique(ids)) == len(ids) == made.rows
    content = dict(made.pool.parts())
    lists = len(made.quantiser.centroids)
    sizes, sums, least = np.zeros(lists, int), np.zeros(lists), np.ones(lists, np.float32)
    for piece, filled, (sample, sample_lists) in zip(
        made.pieces, made.contents.filled, made.contents.sample(), strict=True
    ):
        own = np.repeat(np.arange(lists), np.diff(piece.offsets))
        assert (np.diff(own) >= 0).all()
        original = np.array([content[number >> 32][number & 0xFFFFFFFF] for number in piece.ids.tolist()])
        assert np.array_equal(original, piece.stored)
        assert np.array_equal(made.quantiser.assign(original), own)
        cosines = exact_scores(original, made.quantiser.centroids[own])
        np.minimum.at(least, own, cosines)
        np.add.at(sums, own, cosines)
        np.add.at(sizes, own, 1)
        assert np.array_equal(np.unpackbits(filled, count=lists), np.bincount(own, minlength=lists) > 0)
        assert 0 < len(sample) < 0.1 * len(ids)
        places = _places(piece)
        assert np.array_equal(sample_lists, own[places])
        assert np.array_equal(sample, np.asarray(piece.stored)[places])
    assert np.array_equal(made.contents.sizes, sizes)
    assert np.abs(made.contents.nearest - least).max() < 1e-5
    assert np.abs(made.contents.cosines - np.where(sizes, sums / np.maximum(sizes, 1), 1)).max() < 1e-5


def test_what_is_known_of_an_index_does_not_grow_with_its_pieces(made, make, tmp_path):
    """Of a piece a bit a list stays, and none of its rows: so a billion rows fit beside the lists."""
    parts = [rows for _, rows in made.pool.parts()]
    parts = [half for part in parts for half in np.array_split(part, 13)]
    many = make.index(tmp_path, parts, cuts=tuple(range(len(parts) + 1)), lists=len(made.quantiser.centroids)).contents
    lists = len(many.sizes)

    assert (len(many.pieces), len(made.contents.pieces)) == (65, 2)
    assert {filled.nbytes for filled in many.filled} == {-(-lists // 8)}
    for contents in (many, made.contents):
        arrays = [value for value in vars(contents).values() if isinstance(value, np.ndarray)]
        assert sum(array.nbytes for array in arrays) == 16 * lists


def test_what_a_kill_left_is_built_again_in_the_same_pieces(stores, monkeypatch):
    pool, index = stores
    monkeypatch.setattr(store, "PIECE_BYTES", 1)
    plans = index.missing_pieces(pool)
    assert [list(plan.parts) for plan in plans] == [[0], [1], [2], [3]]
    build(index, pool, plans[2])  # the others' workers were killed
    assert index.missing_pieces(pool) == [plans[0], plans[1], plans[3]]


def test_parts_are_added_without_touching_old_pieces(made, stores):
    pool, index = stores
    [first] = index.missing_pieces(pool)
    build(index, pool, first)
    assert index.missing_pieces(pool) == []
    part, rows = made.pool.content[4]
    add_part(pool, part, rows)
    [added] = index.missing_pieces(pool)
    assert (added.number, list(added.parts)) == (1, [4])


@pytest.mark.parametrize("kind", ["Flat", "SQ8"])
def test_an_index_with_parts_added_selects_as_well_as_one_from_nothing(made, stores, tmp_path, kind):
    pool, _ = stores
    index = IndexStore(str(tmp_path / "grown"))
    sample = sample_rows(pool.parts(), sum(len(rows) for _, rows in made.pool.content[:4]), 4000, 0)
    quantiser, _ = train_quantiser(sample, len(made.quantiser.centroids), 0)
    index.create(quantiser, None if kind == "Flat" else train_codec(kind, sample, quantiser), kind, 0.05, 0)
    build(index, pool, *index.missing_pieces(pool))
    part, rows = made.pool.content[4]
    add_part(pool, part, rows)

    build(index, pool, *index.missing_pieces(pool))

    exact = select_simcore(made.pool, made.centroids, Rules(budget=300))
    overlaps, told = [], []
    for contents in (index.open(), made.contents):
        found, recall = select_ivf(contents, made.centroids, Rules(budget=300), recall=0.9, read_rows=made.read_rows)
        overlaps.append(len(np.intersect1d(found.ids, exact.ids)) / 300)
        told.append(recall.estimate)
        assert (found.ids >> 32 == part).any() and recall.scanned < 1
    assert min(overlaps) > 0.9 and abs(overlaps[0] - overlaps[1]) < 0.05
    assert min(told) > 0.8


def test_pieces_with_parts_that_are_gone_or_made_anew_are_built_again(stores, monkeypatch):
    pool, index = stores
    monkeypatch.setattr(store, "PIECE_BYTES", 1)
    for plan in index.missing_pieces(pool):
        build(index, pool, plan)
    assert index.outdated(pool) == []
    storage.remove(pool.done_url(1, f"{1:016x}"))
    rows = np.array(pool.vectors(2))
    storage.remove(pool.done_url(2, f"{2:016x}"))
    add_part(pool, 2, rows, "a" * 16)

    pool = PartStore(pool.url)
    assert index.outdated(pool) == [1, 2]
    index.remove_pieces([1, 2])

    assert index.missing_parts(pool) == {2: "a" * 16}
    (plan,) = index.missing_pieces(pool)
    build(index, pool, plan)
    pieces = [IndexPiece.open(url, None) for url in index.open().pieces]
    assert sorted(np.unique(np.concatenate([piece.ids for piece in pieces]) >> 32)) == [0, 2, 3]
    assert index.outdated(pool) == []


@pytest.mark.parametrize("kind", ["SQ8", "PQ12"])
def test_an_index_of_codes_is_smaller_than_its_pool_and_another_one(made, by_kind, stores, kind):
    pool, plain = stores
    index = IndexStore(plain.url + kind)
    settings = index.create(made.quantiser, by_kind(kind).contents.codec, kind, 0.05, 0)
    assert settings["factory"] == f"IVF{len(made.quantiser.centroids)},{kind}"
    [plan], [of_plain] = index.missing_pieces(pool), plain.missing_pieces(pool)
    assert plan.parts == of_plain.parts and plan.identity != of_plain.identity
    build(index, pool, plan)
    stored = Path(index.piece_url(0), "codes.npy").stat().st_size
    assert stored == 128 + 4800 * ((24 if kind == "SQ8" else 12) + 2)
    assert not Path(index.piece_url(0), "rows.npy").exists()
    contents = index.open()
    piece = IndexPiece.open(contents.pieces[0], contents.codec)
    [(sample, _)] = contents.sample()
    assert np.array_equal(sample, made.read_rows(piece.ids[_places(piece)]))


def _places(piece):
    """Where a piece's sample is, by what decides it."""
    return np.flatnonzero(priorities(piece.ids, SAMPLE_SEED) < np.uint64(0.05 * (2**64 - 1025)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("HNSW32", "builds IVFn,Flat, IVFn,SQ8 and IVFn,PQm: give factory='IVF256,SQ8'$"),
        ("IVF0,Flat", "IVFn"),
        ("IVF8,SQ4", "IVFn"),
        ("IVF8,PQ8x4", "IVFn"),
        ("IVF99999,SQ8", "more lists .*: give factory='IVF256,SQ8'$"),
        ("IVF8,PQ5", "PQm cuts 24 dimensions into m equal groups: give factory='IVF8,PQ6'$"),
        ("IVF8,PQ0", "give factory='IVF8,PQ6'$"),
    ],
)
def test_other_factories_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse_factory(text, 10_000, 24)


@pytest.mark.parametrize(
    ("text", "factory"),
    [
        (None, Factory(256)),
        ("IVF8,Flat", Factory(8)),
        ("IVF8, SQ8", Factory(8, "SQ8")),
        ("IVF8,SQ8,RFlat", Factory(8, "SQ8")),
        ("IVF8,PQ6x8,Refine(Flat)", Factory(8, "PQ6")),
    ],
)
def test_a_factory_has_one_name(text, factory):
    assert parse_factory(text, 10_000, 24) == factory


def test_a_small_training_sample_is_told(made):
    sample = sample_rows(made.pool.parts(), made.rows, made.rows, 0)
    _, warning = train_quantiser(sample, 500, 0)
    assert "would make good ones" in warning
    with pytest.raises(UnusableInput, match="cannot train"):
        train_quantiser(sample, made.rows + 1, 0)
