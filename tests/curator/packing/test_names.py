from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given, strategies as st
from webdataset.tariterators import base_plus_ext

from curator.packing.names import Namer, extensions
from curator.types import Member


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def name(key: str, *exts: str, part: int = 0) -> str:
    return Namer().name(part, key, exts or ["jpg"])


def test_a_plain_key_is_kept():
    assert name("img_0001-A", part=42) == "00000042_img_0001-A"


@pytest.mark.parametrize("key", ["a.b", "a/b", "a b", "aé", "a\n", "a:b", "日本", "a\\b"])
def test_other_characters_become_dashes_and_a_hash_follows(key):
    assert name(key) == f"00000000_{re.sub('[^A-Za-z0-9_-]', '-', key)}-{digest(key)}"


def test_a_key_of_80_is_kept_and_one_of_81_is_cut():
    assert name("k" * 80, "jpg") == "00000000_" + "k" * 80
    assert name("k" * 81, "c") == "00000000_" + "k" * 80 + "-" + digest("k" * 81)


def test_a_changed_key_beside_jpg_is_cut_at_78_so_that_the_whole_fits_100_bytes():
    found = name("k" * 300, "jpg", "txt")
    assert found == "00000000_" + "k" * 78 + "-" + digest("k" * 300)
    assert len(found + ".jpg") == 100


def test_a_clean_key_is_cut_where_its_longest_extension_leaves_no_room():
    found = name("k" * 80, "jpg", "segmentation.png")
    assert found == "00000000_" + "k" * 65 + "-" + digest("k" * 80)
    assert len(found + ".segmentation.png") == 100


@pytest.mark.parametrize("literal_first", [True, False])
def test_a_key_that_looks_like_anothers_changed_form_gets_a_name_of_its_own(literal_first):
    literal = f"x--{digest('x.')}"
    keys = [literal, "x."] if literal_first else ["x.", literal]
    namer = Namer()
    first, second = (namer.name(0, key, ["jpg"]) for key in keys)
    assert first == f"00000000_{literal}"
    if literal_first:
        assert re.fullmatch(r"00000000_x--[0-9a-f]{8}", second)
        assert second != first
    else:
        assert second == f"00000000_{literal}-{digest(literal)}"


def test_the_same_part_and_key_again_still_gets_another_name():
    namer = Namer()
    assert len({namer.name(0, "a", ["jpg"]) for _ in range(50)}) == 50


def test_twins_get_numbers_in_front_and_stay_images():
    assert extensions(["jpg", "JPG", "jpg", "json"]) == ["jpg", "2.JPG", "3.jpg", "json"]
    assert extensions(["jpg", "2.jpg", "JPG"]) == ["jpg", "2.jpg", "3.JPG"]
    assert extensions(["jpg", "JPG", "2.jpg"]) == ["jpg", "2.JPG", "2.2.jpg"]


@pytest.mark.parametrize("ext", ["__key__", "__url__", "__bad__", "__local_path__"])
def test_what_webdataset_keeps_for_itself_gets_a_number(ext):
    assert extensions(["jpg", ext]) == ["jpg", f"2.{ext}"]


def test_a_long_extension_is_cut_and_keeps_what_it_is():
    long = "example.com." + "x" * 100 + ".JPG"
    (cut,) = extensions([long])
    assert len(cut) == 64
    assert cut == long[:51] + "-" + digest(long) + ".JPG"


def test_a_long_extension_without_a_short_last_part_is_cut_at_55():
    long = "y" * 65
    assert extensions([long]) == ["y" * 55 + "-" + digest(long)]
    assert extensions(["y" * 64]) == ["y" * 64]


def test_an_extension_is_cut_between_characters():
    (cut,) = extensions(["日" * 40 + ".png"])
    assert len(cut.encode()) <= 64
    assert cut.startswith("日" * 17 + "-")


def test_nul_which_ends_a_name_field_is_replaced():
    assert extensions(["a\0b"]) == ["a-b-" + digest("a\0b")]


KEYS = st.one_of(
    st.text(min_size=1, max_size=120),
    st.text("ab.-_/ ", min_size=1, max_size=6),
    st.integers(0, 9).map(lambda n: f"x--{digest('x' + '.' * n)}"),
)
EXTS = st.lists(
    st.one_of(
        st.sampled_from(["jpg", "JPG", "Jpg", "2.jpg", "png", "json", "__key__", "a.b.webp"]),
        st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=80),
    ),
    min_size=1,
    max_size=6,
)


@given(st.lists(st.tuples(st.integers(0, 2**31 - 1), KEYS, EXTS), min_size=1, max_size=12))
def test_names_are_unique_clean_and_fit(samples):
    namer = Namer()
    bases = []
    for part, key, exts in samples:
        new = extensions(exts)
        base = namer.name(part, key, new)
        bases.append(base)
        assert re.fullmatch(r"\d{8,}_[A-Za-z0-9_-]+", base)
        assert int(base.partition("_")[0]) == part
        for ext in new:
            assert len(f"{base}.{ext}".encode()) <= 100
            assert base_plus_ext(f"{base}.{ext}") == (base, ext)
    assert len(set(bases)) == len(bases)


@given(EXTS)
def test_extensions_are_told_apart_in_any_case_and_images_stay_images(exts):
    new = extensions(exts)
    assert len({ext.lower() for ext in new}) == len(exts)
    assert [Member(ext, 0, 0).is_image for ext in new] == [Member(ext, 0, 0).is_image for ext in exts]
    assert not any(ext.startswith("__") or "\0" in ext for ext in new)


@given(st.lists(st.tuples(st.integers(0, 3), KEYS, EXTS), max_size=8))
def test_the_same_samples_get_the_same_names(samples):
    first, second = Namer(), Namer()
    assert [first.name(*sample) for sample in samples] == [second.name(*sample) for sample in samples]
