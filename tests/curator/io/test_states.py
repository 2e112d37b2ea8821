"""How many requests it takes to know the states of some files of a large prefix, on a server that logs them."""

import pytest

from curator.io import states, storage

SHARDS = 12


@pytest.fixture
def shards(faulty_s3, s3_bucket):
    """URLs of shards of one prefix, and the log of requests from here on."""
    urls = [f"{s3_bucket}/pool/{number:03d}.tar" for number in range(SHARDS)]
    for number, url in enumerate(urls):
        storage.write_bytes(url, bytes(number + 1))
    faulty_s3.requests.clear()
    return urls, faulty_s3.requests


def kinds(requests):
    """How many look-ups of one object there were, and how many listings."""
    listings = sum("list-type=2" in path or "prefix=" in path for _, path, _ in requests)
    heads = sum(method == "HEAD" and ".tar" in path for method, path, _ in requests)
    return heads, listings


@pytest.mark.parametrize("count", [1, 3, SHARDS])
def test_few_given_ones_are_looked_up_and_nothing_is_listed(count, shards):
    urls, requests = shards
    found = storage.stat_many(urls[:count])
    assert [found[url].size for url in urls[:count]] == list(range(1, count + 1))
    assert kinds(requests) == (count, 0)


def test_more_are_listed_in_the_same_states(shards, monkeypatch):
    urls, requests = shards
    each = storage.stat_many(urls)
    requests.clear()
    monkeypatch.setattr(states, "MAX_SINGLE", SHARDS - 1)
    assert storage.stat_many(urls) == each
    assert kinds(requests) == (0, 1)


@pytest.mark.parametrize(("count", "listed"), [(3, False), (states.MAX_SINGLE, False), (states.MAX_SINGLE + 1, True)])
def test_the_bound(count, listed):
    assert (count > states._most_single("s3://bucket/pool")) == listed


def test_the_hub_is_listed_and_web_servers_are_not():
    assert states._most_single("hf://datasets/me/mine") == 2
    assert states._most_single("https://host/pool") > 1e9
