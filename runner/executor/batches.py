"""Cuts what one turn of an engine produced into `Step` messages that the runner's decoder grants.

Promises: every item once, in order; no `Step` weighs more than `_MOST_BYTES` by an estimate that is never too low
for what engines emit. Refuses nothing: a single item is always small enough, because engines keep to `VECTOR_BYTES`.
"""

from collections.abc import Iterator

from gogrid.protocol.messages import JobMessage, Tokens, Vectors
from runner.executor.messages import Item, Step

VECTOR_BYTES = 512 << 10
"""The most that one `Vectors` message may carry."""
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


def _cost(message: JobMessage) -> int:
    if isinstance(message, Vectors):
        return len(message.data) + 256
    if isinstance(message, Tokens):
        ranked = sum(1 + len(entry.top) for entry in message.logprobs)
        return 256 + 4 * len(message.text) + 9 * len(message.token_ids) + _TOKEN_COST * ranked * 4
    return 2048
