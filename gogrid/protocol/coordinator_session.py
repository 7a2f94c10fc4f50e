"""The coordinator's end of a connection, without I/O: lets workers in, takes their messages, suspects the silent.

Promises: before a worker has proved itself it gets 5 s, one stream and 4 KiB, and an unknown worker, an unknown token
and a wrong signature get the same answer. Who may do what beyond holding the key is the shell's decision: after
`Authenticated` or `JoinProved` the session waits for `admit`, `joined` or `reject`.
"""

from dataclasses import dataclass
from typing import Protocol

import msgspec

from gogrid.errors import CloseCode, ProtocolError
from gogrid.ids import JobId, WorkerId
from gogrid.protocol import PROTOCOL_OLDEST, PROTOCOL_VERSION
from gogrid.protocol.auth import Binding, auth_is_valid, join_is_valid
from gogrid.protocol.codec import TASK_ROOM, check_shape, decode_control, decode_job, encode_framed
from gogrid.protocol.credit import TokenBucket
from gogrid.protocol.framing import HEADER_SIZE, MAX_FRAME, FrameDecoder
from gogrid.protocol.messages import (
    Assign,
    Auth,
    Cancel,
    Challenge,
    ControlMessage,
    Drain,
    Failed,
    Finished,
    Goodbye,
    Heartbeat,
    HeartbeatAck,
    Hello,
    JobMessage,
    JobOpen,
    Join,
    Ping,
    Pong,
    Refuse,
    Reject,
    Said,
    Settled,
    Welcome,
    WorkerReport,
)
from gogrid.protocol.session import (
    CONTROL_BURST,
    CONTROL_RATE,
    CONTROL_STREAM,
    HANDSHAKE_BYTES,
    HANDSHAKE_S,
    MAX_JOB_STREAMS,
    WAITED_FOR,
    Ended,
    Outbox,
    Output,
    Phase,
    Pulse,
    Rhythm,
    Suspected,
    WaitedFor,
    answer,
    clip,
    close_code,
    unexpected,
)
from gogrid.protocol.story import read_story

QUIET = Rhythm(3.5, 1.5)
"""Of a worker for whose answers nobody waits: suspected after five seconds, and asked as seldom as that allows, for a
thousand workers are asked at this rate. The answer is the transport's, from the same event loop as any other."""
FIRST_WORD_ROUND_TRIPS = 3
"""What a worker that was quiet gets, on top, until it can be heard: an assignment may have to be sent twice."""
_NOT_KNOWN = "This coordinator does not know this worker, or its key is another one; join again with a new token."
_NO_SUCH_TOKEN = "This coordinator does not know this join token; ask its admin for a new one."  # noqa: S105
_SMALL = 4096


class KeyLookup(Protocol):
    """Public keys by name, looked up in memory."""

    def worker_key(self, worker_id: WorkerId) -> bytes | None: ...

    def token_key(self, token_id: str) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Authenticated:
    """This worker holds its key. Answer with `admit` or `reject`."""

    worker_id: WorkerId


@dataclass(frozen=True, slots=True)
class JoinProved:
    """The sender holds this token and this new worker key. Answer with `joined` or `reject`."""

    token_id: str
    worker_key: bytes
    hostname: str


class JobSaid(msgspec.Struct, frozen=True):
    """A message of a job; `size` bytes are to be credited to `stream_id` once it is handled, 0 of a story."""

    stream_id: int
    job_id: JobId
    epoch: int
    message: JobMessage
    size: int


class JobStreamEnded(msgspec.Struct, frozen=True):
    stream_id: int
    job_id: JobId
    epoch: int


CoordinatorEvent = (
    Authenticated | JoinProved | WorkerReport | Refuse | Heartbeat | JobSaid | JobStreamEnded | Suspected | Ended
)


class CoordinatorSession:
    def __init__(self, name: str, keys: KeyLookup, binding: Binding, server_nonce: bytes, now: float) -> None:
        self._name = name
        self._keys = keys
        self._binding = binding
        self._nonce = server_nonce
        self._phase = Phase.HELLO
        self._out = Outbox()
        self._decoder = FrameDecoder(HANDSHAKE_BYTES)
        self._handshake_bytes = 0
        self._deadline = now + HANDSHAKE_S
        self._challenge: Challenge | None = None
        self._bucket = TokenBucket(CONTROL_RATE, CONTROL_BURST, now)
        self._pulse = Pulse(QUIET, now, self._out.nudge)
        self._waited_for = WaitedFor()
        self._jobs: dict[int, _JobStream] = {}
        self._assigned = self._told = 0
        """Jobs that were asked for here, and those that were told in one `Said`."""
        self._ended = False

    @property
    def phase(self) -> Phase:
        return self._phase

    @property
    def suspects(self) -> bool:
        """Whether the worker is held silent."""
        return self._pulse.silent

    def take_outputs(self) -> list[Output]:
        """What to send since the last call, in order."""
        return self._out.take()

    # --- inputs -------------------------------------------------------------------------------------------------------

    def receive(self, stream_id: int, data: bytes, end: bool, now: float, wall_time: float) -> list[CoordinatorEvent]:
        """Bytes came on a stream; `end` if they are its last. `wall_time` is only shown to the worker."""
        events: list[CoordinatorEvent] = []
        if self._phase is Phase.CLOSED:
            return events
        try:
            if self._phase is Phase.OPEN:
                if self._pulse.heard(now):
                    events.append(Suspected(silent=False))
                if stream_id == CONTROL_STREAM:
                    self._receive_control(data, end, now, events)
                else:
                    self._receive_job(stream_id, data, end, events)
            else:
                self._receive_handshake(stream_id, data, end, wall_time, events)
        except ProtocolError as error:
            self._end(error.code, str(error), events)
        return events

    def heard(self, at: float) -> list[CoordinatorEvent]:
        """A packet of the worker came at this time, whatever was in it; `receive` says so by itself."""
        if self._phase is Phase.OPEN and self._pulse.heard(at):
            return [Suspected(silent=False)]
        return []

    def stream_reset(self, stream_id: int) -> list[CoordinatorEvent]:
        """The worker gave up a stream."""
        events: list[CoordinatorEvent] = []
        if self._phase is Phase.CLOSED:
            return events
        job = self._jobs.pop(stream_id, None)
        if stream_id == CONTROL_STREAM:
            self._end(CloseCode.PROTOCOL, "The worker reset the control stream.", events)
        elif job is not None and job.lease is not None:
            self._over(*job.lease)
            events.append(JobStreamEnded(stream_id, *job.lease))
        return events

    def admit(self, welcome: Welcome, now: float) -> None:
        """Open the session."""
        self._require(Phase.DECISION)
        self._out.say(welcome)
        self._phase = Phase.OPEN
        self._decoder = FrameDecoder()
        self._pulse.heard(now)

    def joined(self, welcome: Welcome, *, pending: bool) -> list[CoordinatorEvent]:
        """Tell a new worker who it is and end this connection; it comes back with its own key."""
        self._require(Phase.DECISION)
        if pending:
            code, reason = CloseCode.PENDING, "The coordinator's admin has yet to approve this worker."
        else:
            code, reason = CloseCode.NORMAL, "Joined."
        self._out.say(welcome)
        self._out.goodbye(code, reason)
        return self._closed(code, reason)

    def reject(self, code: CloseCode, message: str) -> list[CoordinatorEvent]:
        """Let nobody in."""
        if self._phase is Phase.CLOSED:
            return []
        self._out.close(code, message, Reject(code=code, message=clip(message)))
        return self._closed(code, message)

    def send(
        self, message: Assign | Cancel | Drain | HeartbeatAck | Settled, now: float, round_trip_s: float = 0.0
    ) -> None:
        """Tell the worker; ignored unless open. `round_trip_s`: what a packet takes there and back, if known.

        Raises:
            ProtocolError: the message is larger than a worker takes.
        """
        if self._phase is not Phase.OPEN:
            return
        framed = encode_framed(message)
        if len(framed) > _SMALL:
            check_shape(framed[HEADER_SIZE:], TASK_ROOM, MAX_FRAME)
        self._out.write(CONTROL_STREAM, framed)
        self._assigned += isinstance(message, Assign)
        match message:
            case Assign(durable=False):
                if not self._waited_for:
                    self._pulse.keep(WAITED_FOR, now + FIRST_WORD_ROUND_TRIPS * round_trip_s)
                self._waited_for.add(message.job_id, message.epoch)
            case Cancel():
                self._over(message.job_id, message.epoch)
            case HeartbeatAck():
                for lease in message.lost:
                    self._over(lease.job_id, lease.epoch)

    def close(self, code: CloseCode, reason: str) -> list[CoordinatorEvent]:
        """Say goodbye and end."""
        events: list[CoordinatorEvent] = []
        self._end(code, reason, events)
        return events

    def connection_lost(self, code: CloseCode, reason: str) -> list[CoordinatorEvent]:
        """The transport is gone, for the reason it gave."""
        return self._closed(code, reason)

    def next_deadline(self) -> float | None:
        """When `on_deadline` wants to be called."""
        if self._phase in (Phase.CLOSED, Phase.DECISION):
            return None
        return self._pulse.deadline if self._phase is Phase.OPEN else self._deadline

    def on_deadline(self, now: float) -> list[CoordinatorEvent]:
        """The time asked for has come, or may have."""
        events: list[CoordinatorEvent] = []
        if self._phase is Phase.OPEN:
            if self._pulse.tick(now):
                events.append(Suspected(silent=True))
        elif self._phase in (Phase.HELLO, Phase.PROOF) and now >= self._deadline:
            self._end(CloseCode.TIMEOUT, f"Nobody proved to be a worker within {HANDSHAKE_S:.0f} s.", events)
        return events

    # --- before the worker is known -----------------------------------------------------------------------------------

    def _receive_handshake(
        self, stream_id: int, data: bytes, end: bool, wall_time: float, events: list[CoordinatorEvent]
    ) -> None:
        self._handshake_bytes += len(data)
        if stream_id != CONTROL_STREAM or end or self._handshake_bytes > HANDSHAKE_BYTES:
            raise ProtocolError(f"Before it is let in, a worker has one open stream and {HANDSHAKE_BYTES} bytes.")
        for frame in self._decoder.feed(data):
            message = decode_control(frame)
            match self._phase, message:
                case Phase.HELLO, Hello():
                    self._on_hello(message, wall_time, events)
                case Phase.PROOF, Auth():
                    self._on_auth(message, events)
                case Phase.PROOF, Join():
                    self._on_join(message, events)
                case _:
                    raise unexpected(message, self._phase)
            if self._is_closed():
                return

    def _on_hello(self, hello: Hello, wall_time: float, events: list[CoordinatorEvent]) -> None:
        spoken = min(hello.proto_max, PROTOCOL_VERSION)
        if spoken < max(hello.proto_min, PROTOCOL_OLDEST):
            events.extend(
                self.reject(
                    CloseCode.VERSION,
                    f"This coordinator speaks protocol {PROTOCOL_OLDEST} to {PROTOCOL_VERSION}, this worker "
                    f"{hello.proto_min} to {hello.proto_max}; update the older of the two.",
                )
            )
            return
        self._challenge = Challenge(coordinator=self._name, server_nonce=self._nonce, proto=spoken, time=wall_time)
        self._out.say(self._challenge)
        self._phase = Phase.PROOF

    def _on_auth(self, auth: Auth, events: list[CoordinatorEvent]) -> None:
        if self._challenge is None:
            raise unexpected(auth, self._phase)
        if not auth_is_valid(auth, self._keys.worker_key(auth.worker_id), self._binding, self._challenge):
            events.extend(self.reject(CloseCode.AUTH_FAILED, _NOT_KNOWN))
            return
        self._phase = Phase.DECISION
        events.append(Authenticated(auth.worker_id))

    def _on_join(self, join: Join, events: list[CoordinatorEvent]) -> None:
        if self._challenge is None:
            raise unexpected(join, self._phase)
        if not join_is_valid(join, self._keys.token_key(join.token_id), self._binding, self._challenge):
            events.extend(self.reject(CloseCode.TOKEN_REFUSED, _NO_SUCH_TOKEN))
            return
        self._phase = Phase.DECISION
        events.append(JoinProved(join.token_id, join.worker_key, join.hostname))

    # --- open ---------------------------------------------------------------------------------------------------------

    def _receive_control(self, data: bytes, end: bool, now: float, events: list[CoordinatorEvent]) -> None:
        for frame in self._decoder.feed(data):
            message = decode_control(frame)
            if isinstance(message, Said) and self._told < self._assigned:
                self._told += 1  # one for each job that was asked for is no flood
            elif not self._bucket.take(now):
                raise ProtocolError(f"More than {CONTROL_RATE:.0f} control messages per second.", CloseCode.TOO_BUSY)
            self._on_control(message, events)
            if self._is_closed():
                return
        if end:
            raise ProtocolError("The worker ended the control stream.")

    def _on_control(self, message: ControlMessage, events: list[CoordinatorEvent]) -> None:
        match message:
            case Said():
                self._on_story(message, events)
            case WorkerReport() | Heartbeat():
                events.append(message)
            case Refuse():
                self._over(message.job_id, message.epoch)
                events.append(message)
            case Ping():
                self._out.say(answer(message))
            case Pong():
                pass
            case Goodbye():
                self._out.close(CloseCode.NORMAL, "")
                events.extend(self._closed(close_code(message.code), clip(message.reason), said=True))
            case _:
                raise unexpected(message, self._phase)

    def _on_story(self, said: Said, events: list[CoordinatorEvent]) -> None:
        lease = (said.job_id, said.epoch)
        if any(job.lease == lease for job in self._jobs.values()):
            raise ProtocolError("A story came for a lease that has a stream.")
        events.extend(JobSaid(CONTROL_STREAM, *lease, message, 0) for message in read_story(said.story))
        self._over(*lease)

    def _receive_job(self, stream_id: int, data: bytes, end: bool, events: list[CoordinatorEvent]) -> None:
        job = self._jobs.get(stream_id)
        if job is None:
            if len(self._jobs) >= MAX_JOB_STREAMS:
                raise ProtocolError(f"More than {MAX_JOB_STREAMS} job streams at once.")
            job = self._jobs[stream_id] = _JobStream()
        for frame in job.decoder.feed(data):
            message = decode_job(frame)
            size = HEADER_SIZE + len(frame)
            if job.finished:
                raise ProtocolError(f"A {type(message).__name__} message came after a job's end.")
            if job.lease is None:
                if not isinstance(message, JobOpen):
                    raise ProtocolError("A job stream did not begin with JobOpen.")
                job.lease = self._new_lease(message)
                self._out.credit(stream_id, size)
                continue
            if isinstance(message, JobOpen):
                raise ProtocolError("A job stream was opened twice.")
            if isinstance(message, Finished | Failed):
                job.finished = True
                self._over(*job.lease)
            events.append(JobSaid(stream_id, *job.lease, message, size))
        if end:
            if job.decoder.buffered or job.lease is None:
                raise ProtocolError("A job stream ended in the middle of a message.")
            del self._jobs[stream_id]
            self._over(*job.lease)
            events.append(JobStreamEnded(stream_id, *job.lease))

    def _over(self, job_id: JobId, epoch: int) -> None:
        """Nobody waits for this lease any more."""
        if self._waited_for:
            self._waited_for.discard(job_id, epoch)
            if not self._waited_for:
                self._pulse.keep(QUIET)

    def _new_lease(self, message: JobOpen) -> tuple[JobId, int]:
        lease = (message.job_id, message.epoch)
        if any(other.lease == lease for other in self._jobs.values()):
            raise ProtocolError("Two streams were opened for one lease.")
        return lease

    # --- ends ---------------------------------------------------------------------------------------------------------

    def _is_closed(self) -> bool:
        return self._phase is Phase.CLOSED

    def _require(self, phase: Phase) -> None:
        if self._phase is not phase:
            raise ProtocolError(f"The session is in phase {self._phase.value}, not {phase.value}.")

    def _end(self, code: CloseCode, reason: str, events: list[CoordinatorEvent]) -> None:
        if self._phase is Phase.OPEN:
            self._out.goodbye(code, reason)
        else:
            self._out.close(code, reason)
        events.extend(self._closed(code, reason))

    def _closed(self, code: CloseCode, reason: str, *, said: bool = False) -> list[CoordinatorEvent]:
        self._phase = Phase.CLOSED
        self._jobs.clear()
        if self._ended:
            return []
        self._ended = True
        return [Ended(code, reason, said)]


class _JobStream:
    """What is known of one job stream."""

    __slots__ = ("decoder", "finished", "lease")

    def __init__(self) -> None:
        self.decoder = FrameDecoder(MAX_FRAME)
        self.lease: tuple[JobId, int] | None = None
        self.finished = False
