import io
import json
import tarfile
import unicodedata

import pytest

from curator.errors import InputError
from curator.sources.find import find_sources
from curator_ssl.probe.labels import label_hint, parse_label, read_labels, unmatched_rows


def tar(path, files):
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def labels_of(url, rule):
    found = read_labels(find_sources([str(url)], "train", folders=True), parse_label(rule))
    return {key: label for (_, key), label in found.items()}


@pytest.fixture
def shard(tmp_path):
    files = {
        "cat/a.jpg": b"x",
        "cat/a.cls": b"3\n",
        "cat/a.json": json.dumps({"label": 7, "name": "tabby", "list": [1]}).encode(),
        "b.jpg": b"x",
        "b.json": b"no json",
        "c.jpg": b"x",
    }
    return tar(tmp_path / "s.tar", files)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("cls", {"cat/a": "3"}),
        ("json:label", {"cat/a": "7"}),
        ("json:name", {"cat/a": "tabby"}),
        ("json:list", {}),
        ("json:other", {}),
        ("folder", {"cat/a": "cat"}),
    ],
)
def test_shards(shard, rule, expected):
    assert labels_of(shard, rule) == expected


def test_folders(tmp_path):
    (tmp_path / "dog").mkdir()
    for name, data in {"1.jpg": b"x", "1.cls": b"5", "1.json": b'{"label": "rex"}', "2.jpg": b"x"}.items():
        (tmp_path / "dog" / name).write_bytes(data)
    assert labels_of(tmp_path, "folder") == {"dog/1.jpg": "dog", "dog/2.jpg": "dog"}
    assert labels_of(tmp_path, "cls") == {"dog/1.jpg": "5"}
    assert labels_of(tmp_path, "json:label") == {"dog/1.jpg": "rex"}


def test_a_table(tmp_path, shard):
    table = tmp_path / "labels.csv"
    table.write_text("key,label,extra\ncat/a,1,x\nb,two,x\nc,,x\n")
    assert labels_of(shard, f"csv:{table}") == {"cat/a": "1", "b": "two"}
    table.write_text(f"shard,key,label\ns.tar,b,1\nother.tar,b,2\n{shard},c,3\n")
    assert labels_of(shard, f"csv:{table}") == {"b": "1", "c": "3"}


def test_a_table_names_keys_in_every_spelling(tmp_path, shard):
    """As other tools write tables: with endings, decomposed, by semicolons, with a byte order mark."""
    table = tmp_path / "labels.csv"
    table.write_bytes("\ufeffkey;label\r\ncat/a.jpg;1\r\nb;2\r\n./c.png;3\r\n".encode())
    assert labels_of(shard, f"csv:{table}") == {"cat/a": "1", "b": "2", "c": "3"}
    names = tar(tmp_path / "n.tar", {unicodedata.normalize("NFD", "Käse.jpg"): b"x"})
    table.write_text("key,label\nKäse,cheese\n")
    assert list(labels_of(names, f"csv:{table}").values()) == ["cheese"]


def test_a_table_of_keys_without_endings_serves_a_folder(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").write_bytes(b"x")
    (tmp_path / "labels.csv").write_text("key,label\n1,cat\n")
    assert labels_of(tmp_path / "photos", f"csv:{tmp_path}/labels.csv") == {"1.jpg": "cat"}


def test_an_ending_that_would_tell_two_labels_apart_is_not_left_out(tmp_path, shard):
    table = tmp_path / "labels.csv"
    table.write_text("key,label\nb.jpg,1\nb.png,2\nc.jpg,3\nc.png,3\n")
    assert labels_of(shard, f"csv:{table}") == {"c": "3"}


def test_folders_of_thumbnails_are_no_class(tmp_path):
    files = {"cat/1.jpg": b"x", "@eaDir/1.jpg": b"x", "dog/@eaDir/2.jpg": b"x", ".thumbnails/3.jpg": b"x"}
    assert labels_of(tar(tmp_path / "s.tar", files), "folder") == {"cat/1": "cat"}


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("cls", "the first sample is cat/a, with cls, json beside it"),
        ("json:other", "the first sample is cat/a, whose json has label, name, list"),
        ("csv", "the first sample is cat/a, the table's first key x.jpg"),
    ],
)
def test_what_stands_in_a_labels_place(tmp_path, shard, rule, told):
    (tmp_path / "t.csv").write_text("key,label\nx.jpg,1\n")
    parsed = parse_label(f"csv:{tmp_path}/t.csv" if rule == "csv" else rule)
    assert label_hint(find_sources([str(shard)], "train", folders=True), parsed) == told


def test_rows_that_match_no_sample(tmp_path):
    (tmp_path / "t.csv").write_text("key,label\na.jpg,1\nb,1\nc,2\n")
    rule = parse_label(f"csv:{tmp_path}/t.csv")
    assert unmatched_rows(rule, [("s.tar", "a"), ("s.tar", "c"), ("s.tar", "z")]) == [("", "b")]


@pytest.mark.parametrize(
    ("content", "told"),
    [("name,label\n", "needs the columns"), ("key,label\na,1\na,2\n", "a has two labels"), (None, "cannot be read")],
)
def test_tables_that_do_not_do(tmp_path, content, told):
    if content:
        (tmp_path / "t.csv").write_text(content)
    with pytest.raises(InputError, match=told):
        parse_label(f"csv:{tmp_path}/t.csv")


@pytest.mark.parametrize("text", ["json:", "json", "class", "cls:x", ""])
def test_other_forms(text):
    with pytest.raises(InputError, match="it is cls, json:FIELD"):
        parse_label(text)
