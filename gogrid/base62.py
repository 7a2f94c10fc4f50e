"""Base 62: digits, capital and small letters, so that a double-click selects all of a text.

Bytes go in blocks of eight, each with a fixed number of digits: of a text that was cut short it can still be told how
long it was meant to be.
"""

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BASE = len(DIGITS)
_BLOCK = 8
_BLOCK_DIGITS = (0, 2, 3, 5, 6, 7, 9, 10, 11)
"""Digits that 0 to 8 bytes take."""
WHOLE_BLOCK = _BLOCK_DIGITS[_BLOCK]
"""Digits of a whole block."""


def encode_number(number: int, width: int) -> str:
    """Exactly `width` digits; higher places are left out."""
    return "".join(DIGITS[number // _BASE**place % _BASE] for place in reversed(range(width)))


def encode(data: bytes) -> str:
    blocks = (data[start : start + _BLOCK] for start in range(0, len(data), _BLOCK))
    return "".join(encode_number(int.from_bytes(block, "big"), _BLOCK_DIGITS[len(block)]) for block in blocks)


def encoded_length(size: int) -> int:
    """Digits that `encode` makes of `size` bytes."""
    return size // _BLOCK * WHOLE_BLOCK + _BLOCK_DIGITS[size % _BLOCK]


def decode(digits: str) -> bytes:
    """The bytes; an impossible block gives what its digits can hold, for a checksum to judge.

    Raises:
        ValueError: a character that is no digit.
    """
    data = bytearray()
    for start in range(0, len(digits), WHOLE_BLOCK):
        block = digits[start : start + WHOLE_BLOCK]
        size = max(n for n, needed in enumerate(_BLOCK_DIGITS) if needed <= len(block))
        number = 0
        for digit in block:
            number = number * _BASE + DIGITS.index(digit)
        data += (number % (1 << 8 * size)).to_bytes(size, "big")
    return bytes(data)
