"""Claims on disks and in a store: one of many has one, and who lost it knows."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from curator.io import claim, storage
from curator.io.claim import EXTERNAL, Claim, ClaimEnded, end_claims


@pytest.fixture(params=["disk", "s3"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        return f"{request.getfixturevalue('s3_bucket')}/run"
    (tmp_path / "run" / EXTERNAL / "stage" / "claims").mkdir(parents=True)
    return str(tmp_path / "run")


@pytest.fixture(autouse=True)
def never_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "FRESH_SECONDS", -1.0)


def claims(out: str, count: int) -> list[Claim]:
    return [Claim(f"{out}/{EXTERNAL}/stage/claims/7-0", {"claim": f"{number}"}) for number in range(count)]


def test_one_of_many_has_it(out: str) -> None:
    many = claims(out, 8)
    with ThreadPoolExecutor(8) as threads:
        got = list(threads.map(Claim.create, many))
    assert sum(got) == 1
    for each, has in zip(many, got, strict=True):
        assert each.stands() == has
    assert storage.list_names(f"{out}/{EXTERNAL}/stage/claims") == ["7-0"], "no temporaries are left"


def test_given_back_it_is_anybodys(out: str) -> None:
    first, second = claims(out, 2)
    assert first.create()
    second.give_back()
    first.check()
    first.give_back()
    with pytest.raises(ClaimEnded):
        first.check()
    assert second.create()
    first.give_back()
    second.check()


def test_a_renewal_shows_and_brings_nothing_back(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "BEAT_EVERY", 0.05)
    one = claims(out, 1)[0]
    one.create()
    before = storage.stat(one.url)
    with one.kept() as has_ended:
        while storage.stat(one.url) == before:
            pass
        end_claims(out)
        assert has_ended.wait(60)
    assert not storage.exists(one.url)
    assert not storage.list_tree(out)


def test_it_goes_to_another_process_of_its_holder(out: str) -> None:
    one = claims(out, 1)[0]
    one.create()
    sent = pickle.loads(pickle.dumps(one))
    sent.check()
    end_claims(out)
    with pytest.raises(ClaimEnded):
        sent.check()


def test_on_a_disk_nothing_is_claimed_where_a_stage_was(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        claims(str(tmp_path), 1)[0].create()
    assert os.listdir(tmp_path) == []


def test_a_claim_is_looked_at_before_a_commit(out: str) -> None:
    one = claims(out, 1)[0]
    one.create()
    with storage.before_commits(one.check):
        storage.write_bytes(f"{out}/a", b"whole")
        end_claims(out)
        with pytest.raises(ClaimEnded):
            storage.write_bytes(f"{out}/b", b"whole")
    storage.write_bytes(f"{out}/c", b"whole")
    assert storage.list_names(out) == ["a", "c"]
