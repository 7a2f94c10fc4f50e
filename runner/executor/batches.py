"""Cuts what one turn of an engine produced into messages that the decoders of the runner and the coordinator grant.

Promises: every item once, in order; no `Step` weighs more than `_MOST_BYTES` by an estimate that is never too low
for what engines emit; no text is longer than `TEXT_BYTES`. Refuses nothing: a single item is always small enough,
because engines keep to `VECTOR_BYTES` and tokens pass through `into_pieces`.
"""

from collections.abc import Iterator

import msgspec

from gogrid.protocol.codec import STRICT_TEXT
from gogrid.protocol.job_messages import JobMessage, TokenLogprob, Tokens, Vectors
from runner.executor.messages import Item, Step

VECTOR_BYTES = 512 << 10
"""The most that one `Vectors` message may carry."""
TEXT_BYTES = STRICT_TEXT // 2
"""The most that one text may have in UTF-8."""
_MOST_BYTES = 768 << 10
_TOKEN_COST = 300
"""Decoding a token with its log-probability costs the reader about this, whatever its bytes are."""


def into_steps(items: tuple[Item, ...]) -> Iterator[Step]:
    """As few `Step`s as the limits allow; none for no items."""
    held: list[Item] = []
    weight = 0
    for item in items:
        cost = _cost(item.message)
        if held and weight + cost > _MOST_BYTES:
            yield Step(items=tuple(held))
            held, weight = [], 0
        held.append(item)
        weight += cost
    if held:
        yield Step(items=tuple(held))


def into_pieces(tokens: Tokens) -> list[Tokens]:
    """The same answer in texts that fit, numbered from `tokens.seq`; ids and log-probabilities go with the last one.

    A log-probability's own text cannot be sent in two, and loses what does not fit.
    """
    *before, last = _cut(tokens.text)
    pieces = [Tokens(seq=tokens.seq + at, text=text, token_ids=(), more=True) for at, text in enumerate(before)]
    logprobs = tuple(_clipped(entry) for entry in tokens.logprobs)
    pieces.append(msgspec.structs.replace(tokens, seq=tokens.seq + len(before), text=last, logprobs=logprobs))
    return pieces


def _cut(text: str) -> list[str]:
    """At least one text, each of at most `TEXT_BYTES`; no character is cut."""
    if 4 * len(text) <= TEXT_BYTES:
        return [text]
    data, start, texts = text.encode(), 0, list[str]()
    while len(data) - start > TEXT_BYTES:
        end = start + TEXT_BYTES
        while data[end] & 0xC0 == 0x80:  # inside a character
            end -= 1
        texts.append(data[start:end].decode())
        start = end
    return [*texts, data[start:].decode()]


def _clipped(entry: TokenLogprob) -> TokenLogprob:
    if all(4 * len(text) <= TEXT_BYTES for text in (entry.token, *(top[0] for top in entry.top))):
        return entry
    top = tuple((_cut(text)[0], token_id, logprob) for text, token_id, logprob in entry.top)
    return msgspec.structs.replace(entry, token=_cut(entry.token)[0], top=top)


def _cost(message: JobMessage) -> int:
    if isinstance(message, Vectors):
        return len(message.data) + 256
    if isinstance(message, Tokens):
        ranked = sum(1 + len(entry.top) for entry in message.logprobs)
        texts = _text_cost(message.text) + sum(
            _text_cost(entry.token) + sum(_text_cost(top[0]) for top in entry.top) for entry in message.logprobs
        )
        return 256 + texts + 9 * len(message.token_ids) + _TOKEN_COST * ranked * 4
    return 2048


def _text_cost(text: str) -> int:
    """Bytes beyond ASCII cost the reader one more than it is granted for them, and of that it grants 256 KiB."""
    return (4 if text.isascii() else 12) * len(text)
