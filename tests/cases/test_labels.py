"""Labels as they are found: members, json, tables, folders (case 20)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from inputs_for_tests import ENCODER, Curator, picture, refused, write_tar

TABLES = {
    "plain": "key,label\n{rows}",
    "endings": "key,label\n{endings}",
    "Excel": "\ufeffkey;label\r\n{semicolons}",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """`train.tar` and `test.tar` of two classes, with labels in every place but a table, and three tables."""
    names = []
    for split in ("train", "test"):
        files = []
        for number in range(6):
            label = str(number % 2)
            key = f"class_{label}/{split}{number}"
            names.append((key, label))
            fields = json.dumps({"label": int(label), "nested": {"label": label}}).encode()
            files += [(f"{key}.jpg", picture(number)), (f"{key}.cls", label.encode()), (f"{key}.json", fields)]
        write_tar(tmp_path / f"{split}.tar", files)
    rows = {
        "rows": "".join(f"{key},{label}\n" for key, label in names),
        "endings": "".join(f"{key}.jpg,{label}\n" for key, label in names),
        "semicolons": "".join(f"{key};{label}\r\n" for key, label in names),
    }
    for name, text in TABLES.items():
        (tmp_path / f"{name}.csv").write_bytes(text.format(**rows).encode())
    (tmp_path / "kaggle.csv").write_text("key,label\nx.jpg,1\n")
    return tmp_path


def probe(curator: Curator, data: Path, rule: str):
    words = ("--train", data / "train.tar", "--test", data / "test.tar", "--label", rule.format(data=data))
    return curator("probe", *ENCODER, "--device", "cpu", *words, "--json")


@pytest.mark.parametrize("rule", ["cls", "json:label", "folder", *(f"csv:{{data}}/{name}.csv" for name in TABLES)])
def test_20_labels_are_matched(curator: Curator, data: Path, rule: str) -> None:
    ran = probe(curator, data, rule)
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert (found["classes"], found["train"]["used"], found["test"]["used"]) == (2, 6, 6)
    assert found["train"]["unlabelled"] == found["test"]["unlabelled"] == 0


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("json:nothing", "whose json has label, nested"),
        ("csv:{data}/kaggle.csv", "the table's first key x.jpg"),
    ],
)
def test_20_labels_that_match_nothing_are_told_with_an_example(
    curator: Curator, data: Path, rule: str, told: str
) -> None:
    refused(probe(curator, data, rule), "--train", "the first sample is class_0/train0", told)
