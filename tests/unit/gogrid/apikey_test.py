"""API keys: every typing mistake is found offline, and nothing shows the secret."""

import re

import pytest

from gogrid.apikey import ApiKeyError, new_api_key, parse_api_key


def test_a_new_key_reads_back_and_is_unlike_any_other() -> None:
    key = new_api_key()
    assert re.fullmatch(r"ggk_[0-9A-Za-z]{8}_[0-9A-Za-z]{49}", key.text)
    assert parse_api_key(key.text) == key
    assert len({new_api_key().text for _ in range(100)}) == 100


def test_any_single_mistyped_character_is_found() -> None:
    text = new_api_key().text
    for place in range(len(text)):
        for wrong in "aZ9_":
            if text[place] != wrong:
                with pytest.raises(ApiKeyError):
                    parse_api_key(text[:place] + wrong + text[place + 1 :])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ggk_",
        "sk-abc",
        "ggk_" + "a" * 58,
        pytest.param(new_api_key().text + "a", id="too long"),
        "ggk_é" + "a" * 57,
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ApiKeyError):
        parse_api_key(text)


def test_neither_repr_nor_errors_show_the_secret() -> None:
    key = new_api_key()
    assert key.secret not in repr(key)
    with pytest.raises(ApiKeyError) as caught:
        parse_api_key(key.text[:-1] + ("a" if key.text[-1] != "a" else "b"))
    assert key.secret not in str(caught.value)
