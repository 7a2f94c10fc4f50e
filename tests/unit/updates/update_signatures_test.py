"""Signature files: nothing but what minisign writes is read, and no bit of one can change."""

import base64
from collections.abc import Callable

import pytest

from tests.fakes.update_publisher import key, key_id, public, sign
from updates.errors import Alarm, TrustError
from updates.trust.signatures import LONGEST_COMMENT, parse_public_key, parse_signature, verify

DATA = b'{"some": "document"}'
COMMENT = "gogrid1 release"
GOOD = sign(DATA, "release1", COMMENT)
KEYS = {key_id("release1"): parse_public_key(public("release1"))}


def alarm_of(raw: bytes, data: bytes = DATA) -> Alarm | None:
    """None: it was believed."""
    try:
        verify(data, parse_signature(raw), KEYS, "release key")
    except TrustError as error:
        return error.alarm
    return None


def lines(change: Callable[[list[bytes]], None]) -> bytes:
    parts = GOOD.splitlines()
    change(parts)
    return b"\n".join(parts) + b"\n"


def test_a_good_signature_is_believed():
    assert alarm_of(GOOD) is None
    assert alarm_of(GOOD.removesuffix(b"\n")) is None
    assert parse_signature(GOOD).trusted_comment == COMMENT


def test_every_bit_flip_outside_the_untrusted_comment_is_refused():
    believed = []
    for bit in range(len(GOOD) * 8):
        flipped = bytearray(GOOD)
        flipped[bit // 8] ^= 1 << bit % 8
        if alarm_of(bytes(flipped)) is None:
            believed.append(bit // 8)
    prefix, first = len(b"untrusted comment: "), GOOD.index(b"\n")
    assert believed
    assert set(believed) <= set(range(prefix, first))


def test_every_bit_flip_of_the_data_is_refused():
    for bit in range(len(DATA) * 8):
        flipped = bytearray(DATA)
        flipped[bit // 8] ^= 1 << bit % 8
        assert alarm_of(GOOD, bytes(flipped)) is Alarm.BAD_SIGNATURE


def test_every_truncation_is_refused():
    for length in range(len(GOOD) - 1):
        assert alarm_of(GOOD[:length]) is not None, length


def test_legacy_signatures_are_refused():
    assert alarm_of(sign(DATA, "release1", COMMENT, prehash=False)) is Alarm.MALFORMED


def test_another_key_with_the_same_id_is_refused():
    forged = bytearray(base64.b64decode(sign(DATA, "stranger", COMMENT).splitlines()[1]))
    forged[2:10] = base64.b64decode(public("release1"))[2:10]
    raw = sign(DATA, "stranger", COMMENT).splitlines()
    raw[1] = base64.b64encode(bytes(forged))
    assert alarm_of(b"\n".join(raw)) is Alarm.BAD_SIGNATURE


def test_an_unknown_key_id_is_refused():
    assert alarm_of(sign(DATA, "stranger", COMMENT)) is Alarm.WRONG_KEY


@pytest.mark.parametrize("line", [1, 3])
def test_base64_that_is_not_canonical_is_refused(line: int):
    """The last character before `=` has bits that decoding ignores: two texts of one signature."""
    text = GOOD.splitlines()[line]
    body = text.rstrip(b"=")
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twin = body[:-1] + alphabet[alphabet.index(body[-1]) | 1 : (alphabet.index(body[-1]) | 1) + 1] + text[len(body) :]
    assert base64.b64decode(twin) == base64.b64decode(text)
    assert twin != text

    def put(parts: list[bytes]) -> None:
        parts[line] = twin

    assert alarm_of(lines(put)) is Alarm.MALFORMED


@pytest.mark.parametrize(
    ("what", "raw"),
    [
        ("a fifth line", GOOD + b"more\n"),
        ("an empty fifth line", GOOD + b"\n"),
        ("carriage returns", GOOD.replace(b"\n", b"\r\n")),
        ("a tab", GOOD.replace(b"comment: s", b"comment: \ts", 1)),
        ("a byte above ASCII", GOOD.replace(b"comment: s", "comment: ä".encode(), 1)),
        ("another first line", GOOD.replace(b"untrusted comment: ", b"trusted comment: ", 1)),
        ("three lines", b"\n".join(GOOD.splitlines()[:3])),
        ("nothing", b""),
        ("a space in the base64", lines(lambda parts: parts.__setitem__(1, parts[1] + b" "))),
    ],
)
def test_files_that_minisign_would_not_write_are_refused(what: str, raw: bytes):
    assert alarm_of(raw) is Alarm.MALFORMED, what


def test_over_long_signatures_are_refused():
    long = lines(lambda parts: parts.__setitem__(0, b"untrusted comment: " + b"x" * (10 << 10)))
    assert alarm_of(long) is Alarm.TOO_LARGE
    comment = lines(lambda parts: parts.__setitem__(2, b"trusted comment: " + b"x" * LONGEST_COMMENT))
    assert alarm_of(comment) is Alarm.TOO_LARGE


def test_a_changed_trusted_comment_is_refused():
    assert alarm_of(GOOD.replace(COMMENT.encode(), b"gogrid1 timestamp")) is Alarm.BAD_SIGNATURE


@pytest.mark.parametrize(
    "text",
    ["", "RW", "é" * 56, public("release1")[:-1] + "=", "A" * 56],
    ids=["nothing", "a beginning", "other letters", "no minisign base64", "no minisign key"],
)
def test_what_is_no_public_key_is_refused(text: str):
    with pytest.raises(TrustError):
        parse_public_key(text)


def test_a_key_is_named_as_minisign_names_it():
    shown = key("release1").public_key
    assert parse_public_key(shown.to_base64().decode()).id == bytes.fromhex(key_id("release1")).hex().upper()
