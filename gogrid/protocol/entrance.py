"""How a coordinator lets a worker in, without I/O: its hello, a fresh challenge, its proof of a key or of a join token.

Promises: before a worker has proved itself it gets 5 s, one stream and 4 KiB, and an unknown worker, an unknown token
and a wrong signature get the same answer. What the holder of a key may do beyond that is not decided here. A join that
proves nothing is not turned away at once: `JoinDoubted` lets the shell look up keys anew, and `judge_again` then
decides.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from gogrid.errors import CloseCode, ProtocolError
from gogrid.ids import WorkerId
from gogrid.protocol import PROTOCOL_OLDEST, PROTOCOL_VERSION
from gogrid.protocol.auth import Binding, auth_is_valid, join_is_valid
from gogrid.protocol.codec import decode_control
from gogrid.protocol.framing import FrameDecoder
from gogrid.protocol.messages import Auth, Challenge, ControlMessage, Hello, Join
from gogrid.protocol.session import CONTROL_STREAM, HANDSHAKE_BYTES, HANDSHAKE_S, Phase, unexpected

_NOT_KNOWN = "This coordinator does not know this worker, or its key is another one; join again with a new token."
_NO_SUCH_TOKEN = "This coordinator does not know this join token; ask its admin for a new one."  # noqa: S105


class KeyLookup(Protocol):
    """Public keys by name, looked up in memory."""

    def worker_key(self, worker_id: WorkerId) -> bytes | None: ...

    def token_key(self, token_id: str) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Authenticated:
    """This worker holds its key."""

    worker_id: WorkerId


@dataclass(frozen=True, slots=True)
class JoinProved:
    """The sender holds this token and this new worker key."""

    token_id: str
    worker_key: bytes
    hostname: str


@dataclass(frozen=True, slots=True)
class JoinDoubted:
    """The sender holds no token that is known so far. Look the keys up anew, then `judge_again`."""


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """It speaks no protocol of ours, or proved nothing; nothing it says counts any more."""

    code: CloseCode
    message: str


Outcome = Challenge | Authenticated | JoinProved | JoinDoubted | TurnedAway


class Entrance:
    """From `HELLO` over `PROOF` to `DECISION`."""

    def __init__(self, name: str, keys: KeyLookup, binding: Binding, server_nonce: bytes, now: float) -> None:
        self._name, self._keys, self._binding, self._nonce = name, keys, binding, server_nonce
        self._decoder = FrameDecoder(HANDSHAKE_BYTES)
        self._bytes = 0
        self._challenge: Challenge | None = None
        self._doubted: Join | None = None
        self.phase = Phase.HELLO
        self._prove_by = now + HANDSHAKE_S

    @property
    def deadline(self) -> float | None:
        """When a worker has to have proved itself; None: it has. Being doubted is no proof."""
        proved = self.phase is Phase.DECISION and self._doubted is None
        return None if proved else self._prove_by

    def receive(self, stream_id: int, data: bytes, end: bool, wall_time: float) -> Iterator[Outcome]:
        """What comes of bytes on a stream, message by message: a challenge to send, or how it went.

        Raises:
            ProtocolError: that has no place here.
        """
        self._bytes += len(data)
        if stream_id != CONTROL_STREAM or end or self._bytes > HANDSHAKE_BYTES:
            raise ProtocolError(f"Before it is let in, a worker has one open stream and {HANDSHAKE_BYTES} bytes.")
        for frame in self._decoder.feed(data):
            outcome = self._on_message(decode_control(frame), wall_time)
            yield outcome
            if isinstance(outcome, TurnedAway):
                return

    def judge_again(self) -> JoinProved | TurnedAway | None:
        """After `JoinDoubted`, by the keys that are known now; None: nobody is doubted."""
        join, self._doubted = self._doubted, None
        if join is None or self._challenge is None:
            return None
        return self._proved(join, self._challenge) or TurnedAway(CloseCode.TOKEN_REFUSED, _NO_SUCH_TOKEN)

    def _on_message(self, message: ControlMessage, wall_time: float) -> Outcome:
        match message:
            case Hello() if self.phase is Phase.HELLO:
                return self._on_hello(message, wall_time)
            case Auth() if self.phase is Phase.PROOF and self._challenge is not None:
                return self._on_auth(message, self._challenge)
            case Join() if self.phase is Phase.PROOF and self._challenge is not None:
                return self._on_join(message, self._challenge)
            case _:
                raise unexpected(message, self.phase)

    def _on_hello(self, hello: Hello, wall_time: float) -> Challenge | TurnedAway:
        spoken = min(hello.proto_max, PROTOCOL_VERSION)
        if spoken < max(hello.proto_min, PROTOCOL_OLDEST):
            return TurnedAway(
                CloseCode.VERSION,
                f"This coordinator speaks protocol {PROTOCOL_OLDEST} to {PROTOCOL_VERSION}, this worker "
                f"{hello.proto_min} to {hello.proto_max}; update the older of the two.",
            )
        self._challenge = Challenge(coordinator=self._name, server_nonce=self._nonce, proto=spoken, time=wall_time)
        self.phase = Phase.PROOF
        return self._challenge

    def _on_auth(self, auth: Auth, challenge: Challenge) -> Authenticated | TurnedAway:
        if not auth_is_valid(auth, self._keys.worker_key(auth.worker_id), self._binding, challenge):
            return TurnedAway(CloseCode.AUTH_FAILED, _NOT_KNOWN)
        self.phase = Phase.DECISION
        return Authenticated(auth.worker_id)

    def _on_join(self, join: Join, challenge: Challenge) -> JoinProved | JoinDoubted:
        proved = self._proved(join, challenge)
        self.phase = Phase.DECISION
        if proved is None:
            self._doubted = join
        return proved or JoinDoubted()

    def _proved(self, join: Join, challenge: Challenge) -> JoinProved | None:
        if not join_is_valid(join, self._keys.token_key(join.token_id), self._binding, challenge):
            return None
        return JoinProved(join.token_id, join.worker_key, join.hostname)
