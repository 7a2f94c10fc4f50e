"""One paste: what is in it, and every way in which it can be wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogrid.addresses import Address, parse_address
from gogrid.errors import ConfigError, TokenError
from gogrid.jointoken import JoinToken, mint, parse

PIN = bytes(range(32))
NOW = 1_700_000_000.0
ADDRESSES = [Address("192.168.1.20", 8443), Address("grid.example.org", 8443)]


FIXED = JoinToken(PIN, "00112233aabbccdd", int(NOW) + 10, tuple(ADDRESSES), False, b"s" * 20)


def token(**changes: object) -> JoinToken:
    return mint(PIN, ADDRESSES, int(NOW) + 86_400, **changes)  # type: ignore[arg-type]


@given(
    st.binary(min_size=32, max_size=32),
    st.lists(
        st.builds(
            Address,
            st.ip_addresses().map(str) | st.from_regex(r"[a-z]{1,12}(\.[a-z]{1,12}){0,2}", fullmatch=True),
            st.integers(1, 65_535),
        ),
        min_size=1,
        max_size=3,
    ),
    st.booleans(),
)
def test_a_token_says_the_same_after_its_journey(pin: bytes, addresses: list[Address], approval: bool) -> None:
    minted = mint(pin, addresses, int(NOW) + 10, needs_approval=approval)
    assert parse(minted.text(), NOW) == minted
    assert parse(minted.text(), NOW).public_key() == minted.public_key()


def test_a_token_is_one_double_click_of_about_120_characters() -> None:
    text = mint(PIN, ADDRESSES[:1], int(NOW)).text()
    assert text.startswith("ggj1_")
    assert text.replace("_", "").isalnum()
    assert len(text) <= 125


def test_a_link_and_a_wrapped_paste_are_understood() -> None:
    minted = token()
    text = minted.text()
    for pasted in (f"gogrid://join/{text}", f"  {text[:60]}\r\n  {text[60:]}\n", f"gogrid://join/{text}/"):
        assert parse(pasted, NOW) == minted


def test_an_expired_token_says_when_it_expired() -> None:
    with pytest.raises(TokenError, match="expired on 2023-11-15 22:13 UTC"):
        parse(token().text(), NOW + 86_400)


@given(st.data())
def test_a_truncated_token_is_called_cut_short(data: st.DataObject) -> None:
    text = FIXED.text()
    cut = text[: data.draw(st.integers(6, len(text) - 1))]
    with pytest.raises(TokenError, match="cut short"):
        parse(cut, NOW)


@given(st.data())
def test_a_token_with_one_wrong_character_is_refused(data: st.DataObject) -> None:
    text = FIXED.text()
    place = data.draw(st.integers(5, len(text) - 1))
    other = data.draw(st.sampled_from([c for c in "0123456789ABCXYZabcxyz" if c != text[place]]))
    with pytest.raises(TokenError):
        parse(text[:place] + other + text[place + 1 :], NOW)


@given(st.text(max_size=300) | st.from_regex(r"ggj1_[0-9A-Za-z]{0,200}", fullmatch=True))
def test_any_text_gives_a_token_error(text: str) -> None:
    with pytest.raises(TokenError):
        parse(text, NOW)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "No join token was given"),
        ("hello", "starts with ggj1_"),
        ("ggj2_abc", "another version"),
        ("ggj1_ab-cd", "'-' at place 8"),
        ("x" * 5000, "far too long"),
    ],
)
def test_what_is_no_token_is_told_so(text: str, says: str) -> None:
    with pytest.raises(TokenError, match=says):
        parse(text, NOW)


def test_a_token_shows_no_secret_when_it_is_printed() -> None:
    minted = token()
    assert minted.seed.hex() not in repr(minted)
    assert repr(minted.seed) not in repr(minted)
    assert minted.token_id in repr(minted)


def test_the_database_can_make_no_token() -> None:
    """What the coordinator keeps is the public half; another seed gives another key."""
    assert token().public_key() != token().public_key()
    assert len(token().public_key()) == 32


@pytest.mark.parametrize("count", [0, 4])
def test_one_to_three_addresses_are_minted(count: int) -> None:
    with pytest.raises(TokenError, match="one to 3"):
        mint(PIN, [ADDRESSES[0]] * count, int(NOW))


def test_addresses_too_long_to_paste_are_refused() -> None:
    with pytest.raises(TokenError, match="too long"):
        mint(PIN, [Address("a" * 200, 1)], int(NOW))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("grid", Address("grid", 8443)),
        ("grid.example.org:99", Address("grid.example.org", 99)),
        ("10.0.0.1:1", Address("10.0.0.1", 1)),
        ("[2001:db8::7]:99", Address("2001:db8::7", 99)),
        ("[::1]", Address("::1", 8443)),
        ("::1", Address("::1", 8443)),
    ],
)
def test_addresses_are_read_as_people_write_them(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


BAD_ADDRESSES = "| :1|a b|grid:|grid:0|grid:65536|grid:x|[::1|[x]|-a|a..b|http://a"


@pytest.mark.parametrize("text", BAD_ADDRESSES.split("|"))
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_address(text)


def test_one_character_too_many_is_one_character() -> None:
    with pytest.raises(TokenError, match="has 1 character too many"):
        parse(FIXED.text() + "x", NOW)
