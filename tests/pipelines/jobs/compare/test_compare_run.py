"""Real runs compared: every number against sets in Python, every picture against its source."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from jobs_for_tests import copy_tree, entries_of, picture, tar_bytes, write_ready
from page_for_tests import CLOSE, Parsed, bytes_of, difference

from curator.errors import InputError
from curator.settings import build
from curator.store.part_store import PartStore
from curator_pipelines.config import CompareConfig
from curator_pipelines.jobs.compare import overlap
from curator_pipelines.jobs.compare.compare_run import run_compare
from curator_pipelines.jobs.compare.comparison import Comparison
from curator_pipelines.run.progress import Reporter

Run = Callable[..., Any]
SECTIONS = ["runs", "pictures", "overlap", "curves", "precision", "coverage", "settings"]


def compare(tmp_path: Path, *runs: Path | str, **settings: Any) -> Comparison:
    given = {"runs": [str(run) for run in runs], "out": str(tmp_path / "compare.html")} | settings
    return run_compare(build(CompareConfig, given), Reporter(quiet=True))


def chosen(out: Path) -> list[tuple[str, str]]:
    rows = pq.read_table(out / "selection/selected.parquet").to_pylist()
    return [(row["shard"], row["key"]) for row in rows]


def chosen_ids(out: Path) -> list[int]:
    ids: list[int] = pq.read_table(out / "selection/selected.parquet")["id"].to_pylist()
    return ids


def check_overlap(found: dict[str, Any], runs: list[Path]) -> None:
    """Of runs whose samples all match by name: the numbers are those of sets."""
    names = [chosen(run) for run in runs]
    pairs = list(combinations(range(len(runs)), 2))
    assert len(found["overlaps"]) == len(pairs)
    for told, (one, other) in zip(found["overlaps"], pairs, strict=True):
        first, second = set(names[one]), set(names[other])
        assert (told["first"], told["second"]) == ("ABCDEF"[one], "ABCDEF"[other])
        assert told["both"] == told["by_name"] == len(first & second) and told["by_bytes"] == 0
        assert (told["only_first"], told["only_second"]) == (len(first - second), len(second - first))
        assert told["jaccard"] == pytest.approx(len(first & second) / len(first | second))
        for rank in told["by_rank"]:
            first, second = (set(names[side][: rank["depth"]]) for side in (one, other))
            assert rank["both"] == len(first & second)
            assert rank["jaccard"] == pytest.approx(len(first & second) / len(first | second))


def check_coverage(told: dict[str, Any], out: Path, by: Path) -> None:
    """The nearest chosen one of each image of the target, by plain products."""
    target = PartStore(f"{by}/target").all_vectors().astype(np.float64)
    ids = pq.read_table(out / "selection/selected.parquet")["id"].to_numpy()
    pool = dict(PartStore(f"{by}/pool").parts())
    rows = np.array([pool[row >> 32][row & 0xFFFFFFFF] for row in ids.tolist()]).astype(np.float64)
    target, rows = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (target, rows))
    best = (target @ rows.T).max(axis=1)
    near = json.loads((by / "selection/selection.json").read_text())["quantiles"]["median"]
    assert told["photos"] == len(target) and told["near"] == near
    assert told["median"] == pytest.approx(np.median(best), abs=1e-5)
    assert told["q10"] == pytest.approx(np.quantile(best, 0.1), abs=1e-5)
    assert told["served"] == pytest.approx(np.mean(best > near), abs=1e-9)


@pytest.fixture(scope="module")
def knn(settings: dict[str, Any], run_on: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference run with another selector and another budget; read only."""
    from curator_pipelines.executors import InProcessExecutor

    out = tmp_path_factory.mktemp("knn") / "run"
    given = {name: value for name, value in settings.items() if name != "clusters"} | {"budget": "15"}
    run_on(InProcessExecutor(), out=str(out), selector="knn", **given)
    return out


def test_two_selectors_and_budgets(reference: Path, knn: Path, tmp_path: Path) -> None:
    found = compare(tmp_path, reference, knn).to_json()
    check_overlap(found, [reference, knn])
    for told, run in zip(found["coverage"], (reference, knn), strict=True):
        check_coverage(told, run, run)
    assert found["settings"]["selector"] == {"A": "simcore", "B": "knn"}
    assert found["settings"]["budget"] == {"A": "21", "B": "15"}
    assert "encoder" not in found["settings"] and "pool" not in found["settings"]
    assert found["facts"]["chosen"] == {"A": "21", "B": "15"}
    assert found["notes"] == []
    page = Parsed((tmp_path / "compare.html").read_text())
    assert page.sections == SECTIONS
    only_a = [name for name in chosen(reference) if name not in set(chosen(knn))]
    ids = dict(
        zip(chosen(reference), pq.read_table(reference / "selection/selected.parquet")["id"].to_pylist(), strict=True)
    )
    assert page.strips.get("Only in A", []) == [f"A-pool-{ids[name]}" for name in only_a[:24]]


def test_planted_wrong_numbers_fail(
    reference: Path, knn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = compare(tmp_path, reference, knn).to_json()
    for name in ("both", "only_first", "jaccard"):
        wrong = json.loads(json.dumps(found))
        wrong["overlaps"][0][name] += 1
        with pytest.raises(AssertionError):
            check_overlap(wrong, [reference, knn])
    # A pair would count from the earlier of its two places on.
    monkeypatch.setattr(overlap.np, "maximum", np.minimum)
    wrong = compare(tmp_path, reference, knn).to_json()
    monkeypatch.undo()
    with pytest.raises(AssertionError):
        check_overlap(wrong, [reference, knn])
    with pytest.raises(AssertionError):
        check_coverage(found["coverage"][0], knn, knn)


@pytest.mark.slow
def test_three_runs(reference: Path, knn: Path, run: Run, settings: dict[str, Any], tmp_path: Path) -> None:
    drawn = tmp_path / "drawn"
    given = {name: value for name, value in settings.items() if name != "clusters"}
    run(out=str(drawn), selector="random", **given)
    result = compare(tmp_path, reference, knn, drawn)
    check_overlap(result.to_json(), [reference, knn, drawn])
    assert result.notes == ["C has no scores (random), and so no curve"]
    page = Parsed((tmp_path / "compare.html").read_text())
    inside = [set(chosen(out)) for out in (reference, knn, drawn)]
    assert f"{len(inside[0] - inside[1] - inside[2])} are not in any other" in " ".join(page.text)
    assert f"{len(inside[0] & inside[1] & inside[2])}, in the order of A" in " ".join(page.text)


@pytest.mark.slow
def test_two_targets_of_one_run(run: Run, settings: dict[str, Any], data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    two = settings | {"target": [f"a={data}/target", f"b={data}/pool-0.tar"], "skip_own": False, "max_bad": 0.5}
    run(out=str(out), **two)
    result = compare(tmp_path, out / "a", out / "b")
    check_overlap(result.to_json(), [out / "a", out / "b"])
    assert result.names == [f"{out}/a", f"{out}/b"]
    assert result.to_json()["settings"]["target"] == {"A": f"{data}/target", "B": f"{data}/pool-0.tar"}
    assert any("made for different targets" in note for note in result.notes)
    assert any("A may hold the target's own images" in note for note in result.notes)
    with pytest.raises(InputError, match=f"it has 2 targets: name one: {out}/a or {out}/b"):
        compare(tmp_path, out, out / "b")
    with pytest.raises(InputError, match="has no target c, only a, b"):
        compare(tmp_path, out / "a", out / "c")


def test_the_same_shards_under_other_urls_match_by_bytes(
    reference: Path, run: Run, settings: dict[str, Any], own_data: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    run(out=str(moved), **settings | {"pool": [f"{own_data}/pool-{{0..3}}.tar"], "deny": None})
    result = compare(tmp_path, reference, moved)
    (told,) = result.overlaps

    def digests(out: Path) -> list[str]:
        manifest = {row["id"]: row["sha256"] for row in pq.read_table(out / "shards/manifest.parquet").to_pylist()}
        return [manifest[row] for row in pq.read_table(out / "selection/selected.parquet")["id"].to_pylist()]

    ours, theirs = digests(reference), digests(moved)
    both = sum(min(ours.count(digest), theirs.count(digest)) for digest in set(ours))
    assert (told.by_name, told.by_bytes, told.unknown) == (0, both, (0, 0)) and both > 10
    assert told.elsewhere == (21 - both, 21 - both)
    assert told.only_first == 0 or any("does not name" in note for note in result.notes)
    # Where nothing was packed, the pool's metadata has the hashes.
    shutil.copytree(moved, tmp_path / "unpacked")
    shutil.rmtree(tmp_path / "unpacked/shards")
    assert compare(tmp_path, reference, tmp_path / "unpacked").overlaps[0].by_bytes == both


@pytest.mark.slow
def test_another_encoder_sees_what_this_one_chose(
    reference: Path, run: Run, settings: dict[str, Any], tmp_path: Path
) -> None:
    other = tmp_path / "vit"
    run(out=str(other), **settings | {"encoder": "timm:test_vit"})
    result = compare(tmp_path, reference, other)
    found = result.to_json()
    check_overlap(found, [reference, other])
    assert [(told["of"], told["by"]) for told in found["coverage"]] == [("A", "A"), ("B", "B"), ("A", "B"), ("B", "A")]
    outs = {"A": reference, "B": other}
    for told in found["coverage"]:
        check_coverage(told, outs[told["of"]], outs[told["by"]])
    assert any("different encoders" in note for note in result.notes)
    assert found["settings"]["encoder"] == {"A": "timm:test_efficientnet", "B": "timm:test_vit"}
    assert found["settings"]["encoder: tensors"]["A"] != found["settings"]["encoder: tensors"]["B"]
    assert "as the encoder of B sees it" in result.to_text()
    # Of two runs with one encoder the first speaks for both.
    shutil.copytree(other, tmp_path / "again")
    told = compare(tmp_path, reference, other, tmp_path / "again").coverages
    assert [each.by for each in told if each.of == "A"] == ["A", "B"]


def test_without_hashes_it_says_what_cannot_be_matched(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    target = write_ready(tmp_path / "t", [rng.standard_normal((20, 8)).astype(np.float32)])
    for name in ("p", "q"):
        pool = write_ready(tmp_path / name, [rng.standard_normal((300, 8)).astype(np.float32)])
        run(out=str(tmp_path / f"run-{name}"), target=[target], pool=[pool], budget="30", manifest_only=True)
    result = compare(tmp_path, tmp_path / "run-p", tmp_path / "run-q")
    assert result.overlaps[0].unknown == (30, 30) and result.overlaps[0].both == 0
    assert "30 of A have no match in B by shard and key, and no sha256 is known" in result.to_text()
    assert Parsed((tmp_path / "compare.html").read_text()).sections == SECTIONS
    assert result.missing and result.pictures == 0


@pytest.fixture
def labelled(tmp_path: Path) -> dict[str, Any]:
    """Target of the classes x and y; of the pool every third has no label, and of the others every second is an x."""

    def shard(name: str, first: int, labels: list[str]) -> str:
        entries = entries_of(first, len(labels))
        entries = [entry for entry in entries if not entry[0].endswith(".txt")]
        for number, label in enumerate(labels):
            if label:
                entries.append((f"{number:04d}.cls", label.encode()))
        (tmp_path / name).write_bytes(tar_bytes(sorted(entries)))
        return str(tmp_path / name)

    target = shard("target.tar", 0, ["x", "y", "x", "y", "x", "y", "x", "y"])
    pool = shard("pool.tar", 500, ["", "x", "z"] * 20)
    return {"target": [target], "pool": [pool]}


def test_precision_is_counted_by_hand(
    run: Run, settings: dict[str, Any], labelled: dict[str, Any], tmp_path: Path
) -> None:
    outs = [tmp_path / "few", tmp_path / "many"]
    for out, budget in zip(outs, ("12", "40"), strict=True):
        run(out=str(out), **settings | labelled | {"budget": budget, "deny": None})
    result = compare(tmp_path, *outs, label="cls")
    for told, out in zip(result.precision, outs, strict=True):
        labels = [["", "x", "z"][int(key) % 3] for _, key in chosen(out)]
        right, known = labels.count("x"), len(labels) - labels.count("")
        assert (told.chosen.right, told.chosen.labelled, told.chosen.depth) == (right, known, len(labels))
        assert told.chosen.precision == right / known and not told.is_sample and told.unreadable == 0
        first = [label for label in labels[:10] if label]
        assert [(share.depth, share.right, share.labelled) for share in told.first] == [
            (10, first.count("x"), len(first))
        ]
        assert (told.classes, told.covered) == (2, 1)
        assert told.pool.precision == 0.5 and told.pool.labelled == 40
    assert f"A: {result.precision[0].chosen.precision:.1%}" in result.to_text()

    (tmp_path / "labels.csv").write_text("key,label\n" + "".join(f"{number:04d},x\n" for number in range(60)))
    by_table = compare(tmp_path, *outs, label=f"csv:{tmp_path}/labels.csv").precision
    assert [told.chosen.precision for told in by_table] == [1.0, 1.0]


@pytest.mark.slow
def test_more_chosen_than_are_looked_at_is_a_sample(
    run: Run, settings: dict[str, Any], labelled: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curator_pipelines.jobs.compare import precision

    outs = [tmp_path / "a", tmp_path / "b"]
    for out, seed in zip(outs, (3, 4), strict=True):
        run(out=str(out), **settings | labelled | {"budget": "40", "deny": None, "seed": seed, "clusters": 3})
    monkeypatch.setattr(precision, "LOOKED_AT", 15)
    monkeypatch.setattr(precision, "FIRST", 10)
    told = compare(tmp_path, *outs, label="cls").precision[0]
    assert told.is_sample and told.chosen.depth == 15
    first = [label for label in (["", "x", "z"][int(key) % 3] for _, key in chosen(outs[0])[:10]) if label]
    assert (told.first[0].right, told.first[0].labelled) == (first.count("x"), len(first))


def test_labels_that_are_not_there_are_one_line(reference: Path, knn: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"label='cls': no image of the target .* the first is .*\.png, with nothing"):
        compare(tmp_path, reference, knn, label="cls")
    with pytest.raises(InputError, match="label"):
        compare(tmp_path, reference, knn, label="nonsense")
    assert not (tmp_path / "compare.html").exists()


def test_each_picture_is_its_source_and_no_other(reference: Path, knn: Path, tmp_path: Path) -> None:
    result = compare(tmp_path, reference, knn)
    page = Parsed((tmp_path / "compare.html").read_text())
    images = dict(page.images)
    images.pop("", None)
    sources: dict[str, bytes] = {}
    for letter, out in (("A", reference), ("B", knn)):
        own = [name.removeprefix(f"{letter}-") for name in images if name.startswith(letter)]
        sources |= {f"{letter}-{name}": data for name, data in bytes_of(out, own).items()}
    assert images.keys() == sources.keys() and len(images) == result.pictures > 10
    assert all(difference(url, sources[name]) < CLOSE for name, url in images.items())
    moved = [difference(images[name], sources[other]) for name, other in pairwise(images)]
    assert np.mean(np.array(moved) > CLOSE) > 0.9


def test_the_target_images_served_most_differently(
    reference: Path, run: Run, settings: dict[str, Any], tmp_path: Path
) -> None:
    drawn = tmp_path / "drawn"
    given = {name: value for name, value in settings.items() if name != "clusters"} | {"budget": "3"}
    run(out=str(drawn), selector="random", **given)
    result = compare(tmp_path, reference, drawn)
    ours, theirs = (each.scores for each in result.coverages)
    html = (tmp_path / "compare.html").read_text()
    first = Parsed(html[html.index('id="served"') :])
    names = list(first.images)
    worst = int(np.argmax(ours - theirs))
    assert names[0] == f"A-target-{worst}"
    nearest = chosen_ids(reference)[result.coverages[0].nearest[worst]]
    assert names[1] == f"A-pool-{nearest}"


def test_a_key_is_text_and_never_markup(run: Run, settings: dict[str, Any], tmp_path: Path) -> None:
    key = "<script>hit()<!--\"'>{{7*7}}"
    (tmp_path / "pool.tar").write_bytes(tar_bytes([(f"{key}{number}.png", picture(number)) for number in range(30)]))
    given = settings | {"pool": [str(tmp_path / "pool.tar")], "deny": None}
    for budget in ("9", "20"):
        run(out=str(tmp_path / f"<b>run{budget}"), **given | {"budget": budget})
    compare(tmp_path, tmp_path / "<b>run9", tmp_path / "<b>run20")
    html = (tmp_path / "compare.html").read_text()
    page = Parsed(html)
    assert page.tags.count("script") == 1 and "<b>run" not in html
    assert any(key in caption for caption in page.captions)
    assert not {"link", "iframe", "object"} & set(page.tags) and "default-src 'none'" in html


def test_secrets_of_urls_stay_out(run: Run, served: dict[str, Any], reference: Path, tmp_path: Path) -> None:
    signed = served | {"pool": [f"{url}?X-Amz-Signature=verysecret" for url in served["pool"]]}
    run(out=str(tmp_path / "run"), **signed)
    result = compare(tmp_path, reference, tmp_path / "run")
    told = (tmp_path / "compare.html").read_text() + result.to_text() + json.dumps(result.to_json())
    assert "verysecret" not in told and "pool" in result.to_json()["settings"]
    assert result.overlaps[0].by_bytes == 21


def test_a_run_far_away_and_a_page_there(reference: Path, knn: Path, s3_bucket: str, tmp_path: Path) -> None:
    from curator.io import storage

    copy_tree(str(knn), f"{s3_bucket}/knn")
    page = f"{s3_bucket}/pages/compare.html"
    result = compare(tmp_path, reference, f"{s3_bucket}/knn", out=page)
    near = compare(tmp_path, reference, knn)
    assert result.overlaps == near.overlaps and result.page == page
    assert [each.served for each in result.coverages] == [each.served for each in near.coverages]
    assert Parsed(storage.read_bytes(page).decode()).sections == SECTIONS


def test_what_cannot_be_compared_is_one_line(reference: Path, knn: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 given; two to 6"):
        compare(tmp_path, reference)
    with pytest.raises(InputError, match="named twice"):
        compare(tmp_path, reference, knn, f"{reference}/")
    with pytest.raises(InputError, match=r"no run directory: it has no run\.json"):
        compare(tmp_path, reference, tmp_path)
    shutil.copytree(knn, tmp_path / "run")
    record = json.loads((tmp_path / "run/run.json").read_text())
    record["stages"]["select"]["state"] = "stopped"
    (tmp_path / "run/run.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"its selection is not finished \(stopped\)"):
        compare(tmp_path, reference, tmp_path / "run")
    (tmp_path / "run/run.json").write_text((knn / "run.json").read_text())
    (tmp_path / "run/selection/selection.json").unlink()
    with pytest.raises(InputError, match="no finished selection"):
        compare(tmp_path, reference, tmp_path / "run")
    with pytest.raises(InputError, match=r"out.*ends with \.html"):
        compare(tmp_path, reference, knn, out=str(tmp_path / "page.tar"))


def test_a_run_is_left_as_it_was(reference: Path, knn: Path, tmp_path: Path) -> None:
    def state(out: Path) -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in out.rglob("*")}

    before = state(reference), state(knn)
    compare(tmp_path, reference, knn)
    assert (state(reference), state(knn)) == before
