"""Challenge, answer and key."""

from __future__ import annotations

import pickle

import pytest

from dbnfast.live.wire.auth import ApiKey, cram_response, matching_key

KEY = "db-0123456789abcdefghijklmnopqrs"
VECTORS = [
    (
        "t7kNhwj4xqR0QYjzFKtBEG2ec2pXJ4FK", KEY,
        "ab74012b285badbb76e963df0bcc6f88606e1bbb6a4cf3d8623656713f7df357-opqrs",
    ),
    (
        "t7kNhwj4xqR0QYjzFKtBEG2ec2pXJ4FK", "32-character-with-lots-of-filler",
        "42e2c6c6a874b2f4498bcaf0541be406901a23adef1fb2843d5426f6d2387d14-iller",
    ),
    (
        "abcd1234", "db-unittestapikey1234567890FFFFF",
        "be87ce3d564b64481d4ad1902e2b41b26e3eef62b9de37d87eb4a1d4a5199b6f-FFFFF",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("challenge", "key", "response"), VECTORS)
def test_cram_response(challenge: str, key: str, response: str) -> None:
    assert cram_response(challenge, key) == response
    assert matching_key(challenge, response, ["other-key-00000", key]) == key
    assert matching_key(challenge, response, ["other-key-00000"]) is None
    assert matching_key("x" + challenge, response, [key]) is None


def test_cram_response_equals_the_official_one() -> None:
    official = pytest.importorskip("databento.common.cram").get_challenge_response
    for challenge, key, _ in VECTORS:
        assert cram_response(challenge, key) == official(challenge, key)


def test_key_shows_five_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    key = ApiKey(KEY)
    assert key.secret == KEY
    assert repr(key) == str(key) == f"{key}" == "****opqrs"
    assert key.hide(f"sent {KEY}.") == "sent ****opqrs."
    with pytest.raises(TypeError):
        pickle.dumps(key)
    monkeypatch.setenv("DATABENTO_API_KEY", KEY)
    assert ApiKey().secret == KEY
    monkeypatch.delenv("DATABENTO_API_KEY")
    with pytest.raises(ValueError, match="DATABENTO_API_KEY"):
        ApiKey()


@pytest.mark.parametrize(
    ("key", "where"),
    [(KEY + "\n", "ends"), (KEY + "\r\n", "ends"), (KEY + " ", "ends"), ("\t" + KEY, "begins")],
)
def test_a_key_with_whitespace_around_it_is_told(
    key: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABENTO_API_KEY", key)
    for given in (key, None):
        with pytest.raises(ValueError, match=f"key {where} with whitespace") as caught:
            ApiKey(given)
        assert "db-0" not in str(caught.value)
        assert "opqrs" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "   ", "short", "db-schlüssel-0123456789"])
def test_key_refuses(key: str) -> None:
    with pytest.raises(ValueError) as caught:
        ApiKey(key)
    assert not key.strip() or key not in str(caught.value)


def test_a_key_is_a_text() -> None:
    with pytest.raises(TypeError, match="key is of type int, expected a str") as caught:
        ApiKey(12345)  # type: ignore[arg-type]
    assert "12345" not in str(caught.value)
