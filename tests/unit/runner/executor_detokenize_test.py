"""Text from tokens: characters whole, none lost, none invented."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from runner.executor.engines.detokenize import Detokenizer, TokenNames


def decode_bytes(ids: Sequence[int]) -> str:
    """A tokenizer with a token for each byte, decoding as byte-level tokenizers do; 300 is a special token."""
    return bytes(number for number in ids if number < 256).decode("utf-8", errors="replace")


def decode_fallback(ids: Sequence[int]) -> str:
    """Decodes as tokenizers with byte fallback do: a run that is no UTF-8 becomes one U+FFFD for each byte."""
    try:
        return bytes(ids).decode()
    except UnicodeDecodeError:
        return "\ufffd" * len(ids)


@given(st.text(max_size=30).filter(lambda text: "\ufffd" not in text), st.text(max_size=4))
def test_pieces_joined_are_the_text_and_never_a_broken_character(text: str, prompt: str) -> None:
    answer = Detokenizer(decode_bytes, prompt.encode())
    pieces = [answer.push(byte) for byte in text.encode()]
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


@given(st.text("aé漢🙂👩‍👩‍👧", max_size=12))
def test_byte_fallback_gives_the_same(text: str) -> None:
    answer = Detokenizer(decode_fallback, ())
    assert "".join(answer.push(byte) for byte in text.encode()) == text


def test_incomplete_character_at_the_end_is_left_out() -> None:
    answer = Detokenizer(decode_bytes, b"hi")
    assert [answer.push(byte) for byte in "ok🙂".encode()[:5]] == ["o", "k", "", "", ""]


def test_damaged_bytes_do_not_hold_up_what_follows() -> None:
    answer = Detokenizer(decode_bytes, ())
    assert "".join(answer.push(byte) for byte in b"a\xff\xfeb") == "a\ufffd\ufffdb"


def test_special_tokens_give_no_text() -> None:
    answer = Detokenizer(decode_bytes, b"x")
    assert [answer.push(number) for number in (104, 300, 105)] == ["h", "", "i"]


def test_endless_noise_is_given_up() -> None:
    answer = Detokenizer(decode_bytes, ())
    for _ in range(500):
        answer.push(0xFF)
    assert len(answer._ids) < 200
    assert answer.push(0x61).endswith("a")


def test_token_names_show_spaces_and_bytes() -> None:
    byte_level = TokenNames({0: "Ġcat", 1: "ðŁ", 2: "<|end|>"}.__getitem__, byte_level=True)
    assert [byte_level(number) for number in range(3)] == [" cat", "bytes:\\xf0\\x9f", "<|end|>"]
    fallback = TokenNames({0: "▁cat", 1: "<0xF0>", 2: "<0x41>"}.__getitem__, byte_level=False)
    assert [fallback(number) for number in range(3)] == [" cat", "bytes:\\xf0", "A"]
