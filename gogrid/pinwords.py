"""A pin as six short words, for two people to compare by eye or over the telephone.

The first 96 of the pin's 256 bits, as proquints (`lusab bamuz …`): easy to say, none looks like another. The words are
for people; programs compare the whole pin.
"""

_CONSONANTS, _VOWELS = "bdfghjklmnprstvz", "aiou"
_SHOWN_BYTES = 12


def pin_words(pin: bytes) -> str:
    """Six words for a pin of 32 bytes."""
    return " ".join(_word(int.from_bytes(pin[at : at + 2], "big")) for at in range(0, _SHOWN_BYTES, 2))


def _word(bits: int) -> str:
    return (
        _CONSONANTS[bits >> 12]
        + _VOWELS[bits >> 10 & 3]
        + _CONSONANTS[bits >> 6 & 15]
        + _VOWELS[bits >> 4 & 3]
        + _CONSONANTS[bits & 15]
    )
