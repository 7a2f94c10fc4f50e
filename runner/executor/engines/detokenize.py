"""Token ids to text, piece by piece. Pure.

Promises: the pieces joined are the text of all tokens; a character goes out whole or not yet, so no U+FFFD stands
for one that is incomplete; bytes that never become a character are left out at the end. Special tokens give no text.
"""

from collections.abc import Callable, Sequence

_CONTEXT = 6
"""Tokens of the prompt that the first piece is decoded after: some tokenizers drop a space at the start of a text."""
_REPLACEMENT = "\ufffd"
_LONGEST_WAIT = 64
"""Tokens without one whole character before what came is given up as noise."""


class Detokenizer:
    """The text of one answer."""

    def __init__(self, decode: Callable[[Sequence[int]], str], prompt: Sequence[int]) -> None:
        """
        Args:
            decode: text of some tokens, special ones left out.
            prompt: the tokens before the answer.
        """
        self._decode = decode
        self._ids = list(prompt[-_CONTEXT:])
        self._known = self._decode(self._ids)
        self._read = len(self._ids)
        self._sent = 0

    def push(self, token_id: int) -> str:
        """What this token makes certain."""
        self._ids.append(token_id)
        text = self._decode(self._ids)
        whole = text.rstrip(_REPLACEMENT)
        piece = whole[len(self._known) + self._sent :]
        if len(whole) == len(text) or len(self._ids) - self._read > _LONGEST_WAIT:
            del self._ids[: self._read]
            self._read = len(self._ids)
            self._known, self._sent = self._decode(self._ids), 0
        else:
            self._sent += len(piece)
        return piece


class TokenNames:
    """How single tokens are shown in log-probabilities: their text, or `bytes:\\xf0\\x9f` for a part of a character."""

    def __init__(self, spell: Callable[[int], str], byte_level: bool) -> None:
        """
        Args:
            spell: the tokenizer's own spelling of a token.
            byte_level: whether it spells bytes with GPT-2's alphabet; otherwise `▁` is a space and `<0xF0>` a byte.
        """
        self._spell, self._byte_level = spell, byte_level

    def __call__(self, token_id: int) -> str:
        spelled = self._spell(token_id)
        if self._byte_level and all(letter in _BYTES for letter in spelled):
            raw = bytes(_BYTES[letter] for letter in spelled)
        elif not self._byte_level and len(spelled) == 6 and spelled.startswith("<0x"):
            raw = bytes.fromhex(spelled[3:5])
        else:
            return spelled.replace("\u2581", " ")
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


def _gpt2_alphabet() -> dict[str, int]:
    """The byte each letter of byte-level tokenizers stands for."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + rank): byte for rank, byte in enumerate(others)}


_BYTES = _gpt2_alphabet()
