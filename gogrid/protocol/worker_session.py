"""The worker's end of a connection, without I/O: proves itself, renews leases, notices a dead coordinator.

Created only after the coordinator's pin was checked; `start` is what says the first byte. `Renewed` tells when the last
heartbeat was *sent* that the coordinator has acknowledged: the worker counts its fence from there, because it outlives
this session. While somebody waits for one of our answers the coordinator hears us every `KEEP_ALIVE_S`, whether or not
there is anything to say.
"""

import math
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gogrid.errors import CloseCode, ProtocolError
from gogrid.ids import JobId, WorkerId
from gogrid.protocol import PROTOCOL_OLDEST, PROTOCOL_VERSION
from gogrid.protocol.auth import NONCE_SIZE, Binding, sign_auth, sign_join
from gogrid.protocol.codec import STRICT_ROOM, STRICT_TEXT, check_shape, decode_assigned, encode_framed
from gogrid.protocol.framing import HEADER_SIZE, FrameDecoder
from gogrid.protocol.job_messages import Failed, Finished, JobMessage, JobOpen
from gogrid.protocol.messages import (
    Assign,
    Cancel,
    Challenge,
    ControlMessage,
    Drain,
    Goodbye,
    Heartbeat,
    HeartbeatAck,
    Hello,
    LeaseHeld,
    Ping,
    Pong,
    Refuse,
    Reject,
    Said,
    Settled,
    Welcome,
)
from gogrid.protocol.session import (
    CONTROL_STREAM,
    HANDSHAKE_S,
    KEEP_ALIVE_S,
    Ended,
    Outbox,
    Output,
    Phase,
    Pulse,
    Rhythm,
    WaitedFor,
    answer,
    clip,
    close_code,
    unexpected,
)
from gogrid.protocol.wire import Wire
from gogrid.protocol.worker_report import WorkerReport

DOUBT_S = 2.0
"""What a coordinator gets to answer once the connection is in doubt."""
_SMALL = 4096
_LONGEST_S = 3600.0
_SHORTEST_S = 0.05


@dataclass(frozen=True, slots=True)
class KeyProof:
    """A worker that has joined before."""

    worker_id: WorkerId
    key: Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class TokenProof:
    """A machine that joins now."""

    token_id: str
    token_key: Ed25519PrivateKey
    worker_key: Ed25519PrivateKey
    hostname: str


@dataclass(frozen=True, slots=True)
class LeasesLost:
    """The coordinator says these leases are not ours any more."""

    leases: tuple[LeaseHeld, ...]


@dataclass(frozen=True, slots=True)
class Renewed:
    """The coordinator has acknowledged a heartbeat: what it named is ours from then on."""

    sent_at: float
    """When that heartbeat was sent, on the clock the session is given."""


@dataclass(frozen=True, slots=True)
class HeartbeatDue:
    """The shell answers with `heartbeat`."""


WorkerEvent = Welcome | Assign | Cancel | Drain | LeasesLost | Settled | Renewed | HeartbeatDue | Ended


class WorkerSession:
    def __init__(self, proof: KeyProof | TokenProof, binding: Binding, session_nonce: bytes, software: str) -> None:
        self._proof = proof
        self._binding = binding
        self._nonce = session_nonce
        self._software = software
        self._phase = Phase.HELLO
        self._out = Outbox()
        self._decoder = FrameDecoder()
        self._deadline: float | None = None
        self._pulse: Pulse | None = None
        self._asked = 0
        self._heartbeats: _Heartbeats | None = None
        self._waited_for = WaitedFor()
        self._job_streams: dict[int, tuple[JobId, int]] = {}
        self._said_at = 0.0
        self._ended = False

    @property
    def phase(self) -> Phase:
        return self._phase

    def take_outputs(self, now: float) -> list[Output]:
        """What to send since the last call, in order; it is sent now."""
        outputs = self._out.take()
        if outputs:
            self._said_at = now
        return outputs

    # --- inputs -------------------------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """The pin is checked: say hello."""
        self._out.say(Hello(proto_min=PROTOCOL_OLDEST, proto_max=PROTOCOL_VERSION, software=self._software))
        self._phase = Phase.CHALLENGE
        self._deadline = now + 2 * HANDSHAKE_S

    def receive(self, stream_id: int, data: bytes, end: bool, now: float) -> list[WorkerEvent]:
        """Bytes came on a stream; `end` if they are its last."""
        events: list[WorkerEvent] = []
        if self._phase is Phase.CLOSED:
            return events
        try:
            if stream_id != CONTROL_STREAM:
                raise ProtocolError("The coordinator wrote on a stream that is not its to write on.")
            if self._pulse is not None:
                self._pulse.heard(now)
            for frame in self._decoder.feed(data):
                events.extend(self._on_message(decode_assigned(frame), now))
                if self._is_closed():
                    return events
            if end:
                raise ProtocolError("The coordinator ended the control stream.")
        except ProtocolError as error:
            events.extend(self._end(error.code, str(error)))
        return events

    def send(self, message: WorkerReport | Refuse) -> None:
        """Tell the coordinator; ignored unless open. Raises `ProtocolError` if it does not fit into a message."""
        if self._phase is Phase.OPEN:
            self._out.write(CONTROL_STREAM, framed_fitting(message))
            if isinstance(message, Refuse):
                self._waited_for.discard(message.job_id, message.epoch)

    def heartbeat(self, held: tuple[LeaseHeld, ...], now: float) -> None:
        """Renew these leases; the answer to `HeartbeatDue`."""
        if self._heartbeats is not None and self._phase is Phase.OPEN:
            self._out.say(Heartbeat(seq=self._heartbeats.sent(now), held=held))

    def tell(self, job_id: JobId, epoch: int, story: bytes) -> None:
        """Say all of a lease at once, without a stream; `story`: framed messages, see `gogrid.protocol.story`."""
        if self._phase is Phase.OPEN:
            self._out.write(CONTROL_STREAM, encode_framed(Said(job_id=job_id, epoch=epoch, story=story)))
            self._waited_for.discard(job_id, epoch)

    def open_job(self, stream_id: int, job_id: JobId, epoch: int) -> None:
        """Use a new stream for this lease."""
        if self._phase is Phase.OPEN:
            self._job_streams[stream_id] = (job_id, epoch)
            self._out.write(stream_id, encode_framed(JobOpen(job_id=job_id, epoch=epoch)))

    def send_job(self, stream_id: int, message: JobMessage) -> None:
        """Say something on a job's stream; `Finished` and `Failed` end it.

        Raises:
            ProtocolError: it does not fit into a message.
        """
        if self._phase is Phase.OPEN:
            last = isinstance(message, Finished | Failed)
            self._out.write(stream_id, framed_fitting(message), last)
            if last:
                self._stream_over(stream_id)

    def abandon_job(self, stream_id: int) -> None:
        """End a job's stream without a result."""
        if self._phase is Phase.OPEN:
            self._out.write(stream_id, b"", True)
            self._stream_over(stream_id)

    def close(self, code: CloseCode, reason: str) -> list[WorkerEvent]:
        """Say goodbye and end."""
        return self._end(code, reason)

    def connection_lost(self, code: CloseCode, reason: str) -> list[WorkerEvent]:
        """The transport is gone, for the reason it gave."""
        self._phase = Phase.CLOSED
        return self._ended_once(code, reason)

    def next_deadline(self) -> float | None:
        """When `on_deadline` wants to be called."""
        if self._phase is Phase.OPEN and self._pulse is not None and self._heartbeats is not None:
            deadline = min(self._pulse.deadline, self._heartbeats.deadline)
            return min(deadline, self._said_at + KEEP_ALIVE_S) if self._waited_for else deadline
        return None if self._phase is Phase.CLOSED else self._deadline

    def on_deadline(self, now: float) -> list[WorkerEvent]:
        """The time asked for has come, or may have."""
        if self._phase is Phase.OPEN and self._pulse is not None and self._heartbeats is not None:
            events = self._heartbeats.tick(now)
            if self._waited_for and now >= self._said_at + KEEP_ALIVE_S:
                self._out.nudge()
            if self._pulse.tick(now):
                events.extend(self._end(CloseCode.TIMEOUT, "The coordinator does not answer."))
            return events
        if self._phase is not Phase.CLOSED and self._deadline is not None and now >= self._deadline:
            return self._end(CloseCode.TIMEOUT, "The coordinator did not let us in within its time.")
        return []

    def doubt(self, now: float) -> None:
        """There is reason to believe that the connection is dead: find out soon."""
        if self._phase is Phase.OPEN and self._pulse is not None:
            self._pulse.doubt(now, DOUBT_S)

    def heard(self, at: float) -> None:
        """A packet of the coordinator came at this time, whatever was in it; `receive` says so by itself."""
        if self._pulse is not None:
            self._pulse.heard(at)

    # --- messages -----------------------------------------------------------------------------------------------------

    def _on_message(self, message: ControlMessage, now: float) -> list[WorkerEvent]:
        if isinstance(message, Goodbye):
            return self._leave(close_code(message.code), message.reason)
        if self._phase is Phase.CHALLENGE:
            return self._on_challenge(message)
        if self._phase is Phase.PROOF:
            return self._on_decision(message, now)
        return self._on_open(message, now)

    def _on_challenge(self, message: ControlMessage) -> list[WorkerEvent]:
        if isinstance(message, Reject):
            return self._leave(close_code(message.code), message.message)
        if not isinstance(message, Challenge):
            raise unexpected(message, self._phase)
        if len(message.server_nonce) != NONCE_SIZE or not PROTOCOL_OLDEST <= message.proto <= PROTOCOL_VERSION:
            raise ProtocolError("The coordinator's challenge has no proper nonce, or a version we did not offer.")
        proof = self._proof
        if isinstance(proof, KeyProof):
            self._out.say(sign_auth(proof.key, proof.worker_id, self._binding, message, self._nonce))
        else:
            self._out.say(
                sign_join(
                    proof.token_id,
                    proof.token_key,
                    proof.worker_key,
                    proof.hostname,
                    self._binding,
                    message,
                    self._nonce,
                )
            )
        self._phase = Phase.PROOF
        return []

    def _on_decision(self, message: ControlMessage, now: float) -> list[WorkerEvent]:
        if isinstance(message, Reject):
            return self._leave(close_code(message.code), message.message)
        if not isinstance(message, Welcome):
            raise unexpected(message, self._phase)
        _check_times(message)
        self._phase = Phase.OPEN
        self._heartbeats = _Heartbeats(message.heartbeat_s, now)
        self._pulse = Pulse(Rhythm(message.ping_s, message.ping_timeout_s), now, self._ask)
        return [message]

    def _on_open(self, message: ControlMessage, now: float) -> list[WorkerEvent]:
        match message:
            case Assign():
                if not message.durable:
                    self._said_at = self._said_at if self._waited_for else now
                    self._waited_for.add(message.job_id, message.epoch)
                return [message]
            case Cancel():
                self._waited_for.discard(message.job_id, message.epoch)
                return [message]
            case Drain() | Settled():
                return [message]
            case HeartbeatAck():
                sent_at = self._heartbeats.acknowledged(message.seq) if self._heartbeats is not None else None
                events: list[WorkerEvent] = [] if sent_at is None else [Renewed(sent_at)]
                for lease in message.lost:
                    self._waited_for.discard(lease.job_id, lease.epoch)
                return [*events, LeasesLost(message.lost)] if message.lost else events
            case Ping():
                self._out.say(answer(message))
                return []
            case Pong():
                return []
            case _:
                raise unexpected(message, self._phase)

    def _stream_over(self, stream_id: int) -> None:
        lease = self._job_streams.pop(stream_id, None)
        if lease is not None:
            self._waited_for.discard(*lease)

    def _ask(self) -> None:
        self._asked += 1
        self._out.say(Ping(seq=self._asked))

    # --- ends ---------------------------------------------------------------------------------------------------------

    def _is_closed(self) -> bool:
        return self._phase is Phase.CLOSED

    def _leave(self, code: CloseCode, reason: str) -> list[WorkerEvent]:
        """The coordinator ended it."""
        self._out.close(CloseCode.NORMAL, "")
        self._phase = Phase.CLOSED
        return self._ended_once(code, clip(reason))

    def _end(self, code: CloseCode, reason: str) -> list[WorkerEvent]:
        if self._phase is Phase.OPEN:
            self._out.goodbye(code, reason)
        else:
            self._out.close(code, reason)
        self._phase = Phase.CLOSED
        return self._ended_once(code, reason)

    def _ended_once(self, code: CloseCode, reason: str) -> list[WorkerEvent]:
        if self._ended:
            return []
        self._ended = True
        return [Ended(code, reason)]


class _Heartbeats:
    """When to renew the leases, and which renewals were answered."""

    def __init__(self, every_s: float, now: float) -> None:
        self._every_s = every_s
        self.deadline = now + every_s
        self._seq = 0
        self._unanswered: dict[int, float] = {}

    def sent(self, now: float) -> int:
        self._seq += 1
        self._unanswered[self._seq] = now
        return self._seq

    def acknowledged(self, seq: int) -> float | None:
        """When that heartbeat was sent; None if it is not one that waits for its answer."""
        sent_at = self._unanswered.get(seq)
        if sent_at is not None:
            self._unanswered = {later: at for later, at in self._unanswered.items() if later > seq}
        return sent_at

    def tick(self, now: float) -> list[WorkerEvent]:
        if now < self.deadline:
            return []
        self.deadline = now + self._every_s
        return [HeartbeatDue()]


def framed_fitting(message: Wire) -> bytes:
    """The frame of a message that a coordinator will take; raises `ProtocolError` if it would not."""
    framed = encode_framed(message)
    if len(framed) > _SMALL:
        check_shape(framed[HEADER_SIZE:], STRICT_ROOM, STRICT_TEXT)
    return framed


def _check_times(welcome: Welcome) -> None:
    times = (welcome.heartbeat_s, welcome.fence_s, welcome.ping_s, welcome.ping_timeout_s, welcome.lease_s)
    if not all(math.isfinite(time) and _SHORTEST_S <= time <= _LONGEST_S for time in times):
        raise ProtocolError(f"The coordinator's times are not all between {_SHORTEST_S} and {_LONGEST_S} s.")
