from __future__ import annotations

import pytest

from curator.errors import InputError
from curator_ssl.batch_shares import by_share


def test_shares_are_told_from_plain_urls() -> None:
    given = by_share(["pool-{0..3}.tar", "30%=a.tar::b.tar", "12.5%=s3://bucket/x=1%.tar", "x%=y", "30=z"])
    assert given.plain == ["pool-{0..3}.tar", "x%=y", "30=z"]
    assert given.shared == [(0.3, "a.tar::b.tar"), (0.125, "s3://bucket/x=1%.tar")]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["0%=a"], "above 0% and at most 100%"),
        (["101%=a"], "above 0% and at most 100%"),
        (["60%=a", "50%=b"], "the shares are 110% of a batch together"),
    ],
)
def test_what_is_no_share_is_refused(given: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        by_share(given)
