"""What both ends of a worker connection share: phases, limits, what a session tells its shell to do.

A session is fed bytes, requests and the time, and answers with events (what happened) and outputs (what to send). It
never raises on what a peer sent: a broken peer is one `Close` output and one `Ended` event. Stream 0 is the control
stream, opened by the worker; every other stream is a job's, opened by the worker, one way.

The order of a connection: Hello → Challenge → Auth | Join → Welcome | Reject → open → closed. Whatever comes out of
order ends it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import msgspec

from gogrid.errors import CloseCode, ProtocolError
from gogrid.ids import JobId
from gogrid.protocol.codec import encode_framed
from gogrid.protocol.messages import Goodbye, Ping, Pong
from gogrid.protocol.wire import Wire

CONTROL_STREAM = 0
HANDSHAKE_S = 5.0
"""From TLS to `Welcome`; the worker waits twice as long for it."""
HANDSHAKE_BYTES = 4096
"""What a peer may say before it is authenticated."""
MAX_JOB_STREAMS = 32
CONTROL_RATE = 50.0
CONTROL_BURST = 200.0
"""Control frames per second and at once; a worker that says more is cut off."""
REASON_BYTES = 200
KEEP_ALIVE_S = 0.2
"""While somebody waits for a worker's answers, the worker is silent no longer than this."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """When silence means something."""

    every_s: float
    """After this long without a word the peer is asked."""
    timeout_s: float
    """What it then has to say anything."""
    slack_s: float = 1.0
    """A timer that comes later than this was held up by our own machine, so it says nothing about the peer."""


WAITED_FOR = Rhythm(0.6, 0.4, 0.15)
"""Of a worker for whose answers somebody waits: suspected after a second, five missed keep-alives. Asking in between
lets a coordinator that was itself held up read what came meanwhile, before it suspects anybody."""


class Phase(Enum):
    HELLO = "hello"
    CHALLENGE = "challenge"
    PROOF = "proof"
    DECISION = "decision"
    OPEN = "open"
    CLOSED = "closed"


# --- outputs ----------------------------------------------------------------------------------------------------------


class Send(msgspec.Struct, frozen=True, gc=False):
    """Write to a stream, in order; `end` closes our side of it."""

    stream_id: int
    data: bytes
    end: bool = False


class Credit(msgspec.Struct, frozen=True, gc=False):
    """The session itself has handled this many bytes of a job stream."""

    stream_id: int
    size: int


class Close(msgspec.Struct, frozen=True, gc=False):
    """Send what was said before, then close the connection.

    `linger`: the peer was told why and will leave by itself; what was said may have to be sent again until then.
    """

    code: CloseCode
    reason: str
    linger: bool = False


class Nudge(msgspec.Struct, frozen=True, gc=False):
    """Let the peer hear that we are there: any packet will do."""


Output = Send | Credit | Close | Nudge


# --- events both sides have -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ended:
    """The session is over; nothing follows."""

    code: CloseCode
    reason: str
    said: bool = False
    """The peer itself has said so."""


@dataclass(frozen=True, slots=True)
class Suspected:
    """The peer missed (`silent`) or resumed answering pings."""

    silent: bool


# --- the common half --------------------------------------------------------------------------------------------------


class Outbox:
    """Collects outputs, in order, until the shell takes them."""

    def __init__(self) -> None:
        self._outputs: list[Output] = []
        self.closed: Close | None = None

    def take(self) -> list[Output]:
        outputs, self._outputs = self._outputs, []
        return outputs

    def say(self, message: Wire) -> None:
        """Send a control message. Raises `ProtocolError` if it cannot be encoded."""
        self.write(CONTROL_STREAM, encode_framed(message))

    def write(self, stream_id: int, data: bytes, end: bool = False) -> None:
        if self.closed is None:
            self._outputs.append(Send(stream_id, data, end))

    def credit(self, stream_id: int, size: int) -> None:
        self._outputs.append(Credit(stream_id, size))

    def nudge(self) -> None:
        self._outputs.append(Nudge())

    def close(self, code: CloseCode, reason: str, farewell: Wire | None = None) -> None:
        """Say `farewell` and close; only the first close counts."""
        if self.closed is None:
            if farewell is not None:
                self.say(farewell)
            self.closed = Close(code, clip(reason), farewell is not None)
            self._outputs.append(self.closed)

    def goodbye(self, code: CloseCode, reason: str) -> None:
        self.close(code, reason, Goodbye(code=code, reason=clip(reason)))


class Pulse:
    """Is the peer there? Asks after `every_s` without a word, and gives it `timeout_s` to say anything."""

    def __init__(self, rhythm: Rhythm, now: float, ask: Callable[[], None]) -> None:
        self._rhythm = rhythm
        self._ask = ask
        self._heard_at = now
        self._asked_at: float | None = None
        self.silent = False

    @property
    def deadline(self) -> float:
        if self._asked_at is None:
            return self._heard_at + self._rhythm.every_s
        return self._asked_at + self._rhythm.timeout_s

    def heard(self, at: float) -> bool:
        """Anything came at this time; True if the peer was held silent."""
        if at <= self._heard_at:
            return False
        self._heard_at = at
        self._asked_at = None
        was_silent, self.silent = self.silent, False
        return was_silent

    def keep(self, rhythm: Rhythm, since: float = 0.0) -> None:
        """Another rhythm from now on; silence before `since` does not count."""
        self._rhythm = rhythm
        self._heard_at = max(self._heard_at, since)
        self._asked_at = None

    def doubt(self, now: float, timeout_s: float) -> None:
        """Ask now, and hold the peer silent if nothing comes within `timeout_s`."""
        self._asked_at = now - self._rhythm.timeout_s + timeout_s
        self._ask()

    def tick(self, now: float) -> bool:
        """Act on the deadline if it has come; True if the peer is silent from now on."""
        deadline = self.deadline
        if now < deadline:
            return False
        asked, self._asked_at = self._asked_at, now
        self._ask()
        if asked is None or self.silent or now > deadline + self._rhythm.slack_s:
            return False
        self.silent = True
        return True


class WaitedFor:
    """The leases of one connection for whose answers somebody waits at this moment."""

    def __init__(self) -> None:
        self._epochs: dict[JobId, int] = {}

    def __bool__(self) -> bool:
        return bool(self._epochs)

    def add(self, job_id: JobId, epoch: int) -> None:
        self._epochs[job_id] = epoch

    def discard(self, job_id: JobId, epoch: int) -> None:
        """It is over; ignored if a newer lease of the job is there."""
        if self._epochs.get(job_id) == epoch:
            del self._epochs[job_id]

    def clear(self) -> None:
        self._epochs.clear()


def clip(reason: str) -> str:
    """A reason short enough for a close frame."""
    return reason.encode(errors="replace")[:REASON_BYTES].decode(errors="ignore")


def close_code(number: int) -> CloseCode:
    """A close code from the wire; an unknown number is `PROTOCOL`."""
    try:
        return CloseCode(number)
    except ValueError:
        return CloseCode.PROTOCOL


def unexpected(message: Wire, phase: Phase) -> ProtocolError:
    return ProtocolError(f"A {type(message).__name__} message came in phase {phase.value}.")


def answer(ping: Ping) -> Pong:
    return Pong(seq=ping.seq)
