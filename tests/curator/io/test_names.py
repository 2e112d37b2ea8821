from __future__ import annotations

import pytest

from curator.io.names import printable, public_name, public_text


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("/data/a.tar", "/data/a.tar"),
        ("/data/what?x=1.tar", "/data/what?x=1.tar"),
        ("s3://bucket/a.tar", "s3://bucket/a.tar"),
        ("https://me:pw@host:8080/a.tar", "https://host:8080/a.tar"),
        ("https://h/a.tar?X-Amz-Signature=1&X-Amz-Date=2&X-Amz-Credential=3", "https://h/a.tar"),
        ("https://h/a.tar?sv=1&se=2&sr=b&sp=r&sig=3", "https://h/a.tar"),
        ("https://h/a.tar?X-Goog-Signature=1&generation=7", "https://h/a.tar?generation=7"),
        ("https://h/a.tar?Expires=1&Signature=2&Key-Pair-Id=3&part=4", "https://h/a.tar?part=4"),
        ("https://h/a.tar?token=t", "https://h/a.tar"),
        ("https://h/get?file=a%20b.tar", "https://h/get?file=a%20b.tar"),
        ("s3://bucket/what?.tar", "s3://bucket/what?.tar"),
        ("s3://bucket/run?/a.tar", "s3://bucket/run?/a.tar"),
        ("s3://bucket/what?", "s3://bucket/what?"),
        ("s3://bucket/a#1.tar", "s3://bucket/a#1.tar"),
        ("s3://bucket/a#", "s3://bucket/a#"),
        ("s3://bucket/a?X-Amz-Signature=1", "s3://bucket/a"),
        (
            "s3://arn:aws:s3:eu-1:123456789012:accesspoint/p/a.tar",
            "s3://arn:aws:s3:eu-1:123456789012:accesspoint/p/a.tar",
        ),
        ("abfs://box@account.dfs.core.windows.net/a.tar", "abfs://box@account.dfs.core.windows.net/a.tar"),
        ("abfs://box@account.dfs.core.windows.net/a.tar?sv=1&sig=2", "abfs://box@account.dfs.core.windows.net/a.tar"),
    ],
)
def test_public_names(url: str, name: str) -> None:
    assert public_name(url) == name
    assert public_name(name) == name
    assert public_text(f"NAME={url}::/b.tar: '{url}', see ({url}).") == f"NAME={name}::/b.tar: '{name}', see ({name})."


@pytest.mark.parametrize(
    "parameter",
    [
        *("api_key", "apikey", "key", "password", "pwd", "jwt", "code", "private_token", "access_key", "secret"),
        *("session", "X-Amz-Security-Token", "hmac", "st", "anything_new"),
    ],
)
def test_a_parameter_that_is_not_known_to_be_harmless_is_left_out(parameter: str) -> None:
    assert public_name(f"https://h/a.tar?{parameter}=SECRET&part=3") == "https://h/a.tar?part=3"


@pytest.mark.parametrize(
    "url",
    [
        "https://h/a.tar?SECRET",
        "https://h/a.tar#access_token=SECRET",
        "https://h/a.tar?file=https://me:SECRET@other/a.tar",
        "https://h/a.tar?file=https%3A%2F%2Fme%3ASECRET%40other",
        "s3://ID:SECRET@bucket/a.tar",
        "s3://ID:SEC/SECRET@bucket/a.tar",
        "https://me:SEC/SECRET",
        "https://[me:SECRET@host/x?sig=1",
    ],
)
def test_nothing_of_a_secret_is_left(url: str) -> None:
    assert "SEC" not in public_name(url)
    assert "SEC" not in public_text(f"at {url}: denied")


def test_the_rest_of_a_url_in_an_error_of_requests() -> None:
    text = "HTTPSConnectionPool(host='h', port=443): Max retries exceeded with url: /a.tar?jwt=SECRET (Caused by X)"
    assert public_text(text) == text.replace("?jwt=SECRET", "")


def test_what_commands_a_terminal_is_spelled_out() -> None:
    assert printable("a\x1b]0;title\x07b\x9b31m\r\u202e\udcff\x7f") == (
        "a\\x1b]0;title\\x07b\\x9b31m\\r\\u202e\\udcff\\x7f"
    )
    assert printable("Köln, 東京 🐕\n\tline") == "Köln, 東京 🐕\n\tline"
