import pytest

from curator.errors import InputError
from curator.io.storage import Stat
from curator.sources.source import Source
from curator.store.moves import Move, moved, named_as_first_seen, parse_moves
from curator.store.part_reader import Part


@pytest.mark.parametrize(
    ("url", "there"),
    [
        ("/data/a.tar", "/mnt/a.tar"),
        ("/data/deep/a.tar", "/mnt/deep/a.tar"),
        ("/data", "/mnt"),
        ("/database/a.tar", None),
        ("/other/data/a.tar", None),
    ],
)
def test_a_move_is_of_a_folder_or_a_file(url, there):
    assert Move("/data", "/mnt").apply(url) == there


def test_the_longest_counts_and_the_place_of_now_before_the_first():
    moves = [Move("/a", "/z"), Move("/a/b", "/y")]
    assert moved(moves, "/a/b/1.tar", "/a/b/1.tar") == "/y/1.tar"
    assert moved(moves, "/a/c/1.tar", "/a/c/1.tar") == "/z/c/1.tar"
    assert moved([Move("/b", "/c")], "/a/1.tar", "/b/1.tar") == "/c/1.tar"
    assert moved([Move("/a", "/c")], "/a/1.tar", "/b/1.tar") == "/c/1.tar"
    assert moved([Move("/x", "/c")], "/a/1.tar", "/b/1.tar") is None
    # Said again, also into a folder below the first.
    assert moved([Move("/a", "/a/b")], "/a/1.tar", "/a/b/1.tar") == "/a/b/1.tar"


def test_paths_that_hold_an_equals_sign():
    known = ["/data/day=1/a.tar", "/data/day=2/a.tar"]
    assert parse_moves(["/data/day=1=/new/day=1"], known) == [Move("/data/day=1", "/new/day=1")]
    assert parse_moves(["/data=/new=er"], known) == [Move("/data", "/new=er")]
    with pytest.raises(InputError, match="several ways"):
        parse_moves(["/a=b=c"], ["/a", "/a=b"])


def test_sources_get_the_names_of_their_parts():
    first, there = Stat(10, "old"), Stat(10, "new")
    parts = [
        Part(0, "/a/1.tar", first, "tar", "x", read_url="/b/1.tar", read_version="new"),
        Part(1, "/a/2.tar", first, "tar", "y"),
    ]
    given = [Source("tar", "/b/1.tar", "/b/1.tar", there), Source("tar", "/a/2.tar", "/a/2.tar", first)]

    named = named_as_first_seen(given, parts)

    assert (named[0].name, named[0].url, named[0].stat, named[0].read_stat) == ("/a/1.tar", "/b/1.tar", first, there)
    assert named[1] is given[1]
    # Another version than the one it moved with is a change.
    (touched,) = named_as_first_seen([Source("tar", "/b/1.tar", "/b/1.tar", Stat(10, "newer"))], parts)
    assert (touched.name, touched.stat.version, touched.read_version) == ("/a/1.tar", "newer", "newer")
