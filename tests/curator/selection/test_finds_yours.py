import numpy as np

from curator.search import exact_scores
from curator.selection import beats_chance, hold_out, is_better, pool_ranks
from curator.types import unit_rows


def photos(n, d=6, seed=0, shift=2):
    generator = np.random.default_rng(seed)
    return unit_rows(generator.normal(size=(n, d)) + shift)[0].astype(np.float16)


def test_a_rank_is_the_share_of_the_pool_that_scores_higher():
    target, pool = photos(25), photos(200, seed=1, shift=0.5)
    held_out = hold_out(target, None, 0)
    for row, fold, h, rank in zip(
        held_out.rows, held_out.fold, held_out.similarity, pool_ranks(held_out, pool), strict=True
    ):
        centroids = held_out.centroids[fold]
        best = [max(exact_scores(np.tile(one, (len(centroids), 1)), centroids)) for one in pool]
        assert rank == sum(score > h for score in best) / 200, row


def test_an_encoder_to_which_all_images_are_alike_ranks_by_chance():
    # Rounding alone tells three kinds of equal rows apart.
    target = np.repeat(np.array([[1, 1, 1], [1, 1, 1.001], [1.001, 1, 1]], np.float16), 10, axis=0)
    held_out = hold_out(target, None, 0)
    pool = np.repeat(target[held_out.rows[:1]], 50, axis=0)
    assert len(held_out.rows) == 30
    assert not beats_chance(pool_ranks(held_out, np.concatenate([pool, target, target[::-1]])))
    assert pool_ranks(hold_out(np.ones((30, 3), np.float16), None, 0), pool).tolist() == []


def test_near_images_beat_chance_and_a_pool_of_ones_own_kind_does_not():
    held_out = hold_out(photos(60), None, 0)
    assert beats_chance(pool_ranks(held_out, photos(500, seed=1, shift=-2)))
    assert not beats_chance(pool_ranks(held_out, photos(500, seed=1)))


def test_an_empty_pool_beats_nothing():
    ranks = pool_ranks(hold_out(photos(20), None, 0), np.empty((0, 6), np.float16))
    assert np.isnan(ranks).all()
    assert not beats_chance(ranks)


def test_the_sign_test_wants_more_than_a_lucky_few():
    lower, higher = np.full(100, 0.2), np.full(100, 0.3)
    assert is_better(lower, higher)
    assert not is_better(higher, lower)
    assert not is_better(lower, lower)
    # 62 of 100 heads: p = 0.0105; 63: p = 0.006.
    assert not is_better(np.r_[lower[:62], higher[62:]], np.r_[higher[:62], lower[62:]])
    assert is_better(np.r_[lower[:63], higher[63:]], np.r_[higher[:63], lower[63:]])
