"""When the pieces of an answer leave the executor: on a beat, because each one wakes every process on its way.

Promises: what begins or ends a request, its first tokens and whatever is no token leaves at once, and takes along all
that is held; other tokens leave with the first step that ends a beat after something last left, or before they are
more than one message carries; with many answers the beat is longer, because each piece is then paid for by all; a text
that no message carries leaves in pieces. Within a request nothing is lost, repeated or put out of order; the pieces of
an aborted request are dropped.
"""

from dataclasses import dataclass

import msgspec

from gogrid.protocol.job_messages import Tokens
from gogrid.protocol.worker_report import DeviceKind
from runner.executor.batches import into_pieces
from runner.executor.messages import Item

_MOST_CHARACTERS = 4096
"""Held of one request: half of what a message's text may be, should each character take four bytes."""
_MOST_TOKENS = 64
"""With them their log-probabilities, up to twenty each."""


@dataclass(frozen=True, slots=True)
class Beat:
    """Seconds between two pieces of an answer."""

    few_s: float
    many_s: float
    """From `_MANY` answers at once on."""


_MANY = 8
_CPU_BEAT = Beat(few_s=0.1, many_s=0.2)
"""Here the engine itself loses the processor to every wake-up."""
_GPU_BEAT = Beat(few_s=0.03, many_s=0.03)


def beat_of(device: DeviceKind) -> Beat:
    return _CPU_BEAT if device is DeviceKind.CPU else _GPU_BEAT


class Pacer:
    """Holds tokens of running answers, merged, until they are due."""

    def __init__(self, beat: Beat) -> None:
        self._beat = beat
        self._left_at = float("-inf")
        self._held: dict[int, Tokens] = {}
        self._begun: set[int] = set()
        self._added: dict[int, int] = {}
        """Pieces beyond those the engine numbered."""

    def due(self, items: tuple[Item, ...], now: float) -> tuple[Item, ...]:
        """What leaves now, given what the engine's last step made. `now`: monotonic seconds."""
        urgent = False
        leaving: list[Item] = []
        for item in items:
            if isinstance(item.message, Tokens):
                if self._is_full(item.request, item.message):
                    urgent = True
                    leaving += self._release(item.request)
                urgent |= self._hold(item.request, item.message)
            else:
                urgent = True
                leaving += self._release(item.request)
                leaving.append(item)
        beat_s = self._beat.many_s if len(self._begun) >= _MANY else self._beat.few_s
        if not urgent and now - self._left_at < beat_s:
            return ()
        for request in tuple(self._held):
            leaving += self._release(request)
        if leaving:
            self._left_at = now
        return tuple(leaving)

    def forget(self, request: int) -> None:
        """The request is over: it ended or nobody wants it any more."""
        self._held.pop(request, None)
        self._begun.discard(request)
        self._added.pop(request, None)

    def _is_full(self, request: int, then: Tokens) -> bool:
        """Whether what is held has no room for more of it."""
        held = self._held.get(request)
        return held is not None and (
            len(held.text) + len(then.text) > _MOST_CHARACTERS
            or len(held.token_ids) + len(then.token_ids) > _MOST_TOKENS
        )

    def _hold(self, request: int, tokens: Tokens) -> bool:
        """Keep tokens; True if they are the first of their request that show anything."""
        held = self._held.get(request)
        self._held[request] = tokens if held is None else _merged(held, tokens)
        if request in self._begun or not tokens.text:
            return False
        self._begun.add(request)
        return True

    def _release(self, request: int) -> list[Item]:
        tokens = self._held.pop(request, None)
        if tokens is None:
            return []
        added = self._added.get(request, 0)
        pieces = into_pieces(msgspec.structs.replace(tokens, seq=tokens.seq + added) if added else tokens)
        if len(pieces) > 1:
            self._added[request] = added + len(pieces) - 1
        return [Item(request=request, message=piece) for piece in pieces]


def _merged(first: Tokens, then: Tokens) -> Tokens:
    return Tokens(
        seq=first.seq,
        text=first.text + then.text,
        token_ids=first.token_ids + then.token_ids,
        logprobs=first.logprobs + then.logprobs,
    )
