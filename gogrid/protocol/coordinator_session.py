"""The coordinator's end of a connection, without I/O: lets workers in, takes their messages, suspects the silent.

Promises: a worker that is not let in learns nothing and costs little (`entrance.py`); one that says more than it may,
or what has no place there (`job_streams.py`), is cut off. Who may do what beyond holding the key is the shell's
decision: after `Authenticated` or `JoinProved` the session waits for `admit`, `joined` or `reject`, and after
`JoinDoubted` for `judge_again`.
"""

from gogrid.errors import CloseCode, ProtocolError
from gogrid.ids import JobId
from gogrid.protocol.auth import Binding
from gogrid.protocol.codec import TASK_ROOM, check_shape, decode_control, encode_framed
from gogrid.protocol.credit import TokenBucket
from gogrid.protocol.entrance import Authenticated, Entrance, JoinDoubted, JoinProved, KeyLookup, TurnedAway
from gogrid.protocol.framing import HEADER_SIZE, MAX_FRAME, FrameDecoder
from gogrid.protocol.job_streams import JobSaid, JobStreamEnded, JobStreams
from gogrid.protocol.messages import (
    Assign,
    Cancel,
    Challenge,
    ControlMessage,
    Drain,
    Goodbye,
    Heartbeat,
    HeartbeatAck,
    Ping,
    Pong,
    Refuse,
    Reject,
    Said,
    Settled,
    Welcome,
)
from gogrid.protocol.session import (
    CONTROL_BURST,
    CONTROL_RATE,
    CONTROL_STREAM,
    HANDSHAKE_S,
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
from gogrid.protocol.worker_report import WorkerReport

QUIET = Rhythm(3.5, 1.5)
"""Of a worker for whose answers nobody waits: suspected after five seconds, and asked as seldom as that allows, for a
thousand workers are asked at this rate. The answer is the transport's, from the same event loop as any other."""
FIRST_WORD_ROUND_TRIPS = 3
"""What a worker that was quiet gets, on top, until it can be heard: an assignment may have to be sent twice."""
_SMALL = 4096


CoordinatorEvent = (
    Authenticated
    | JoinProved
    | JoinDoubted
    | WorkerReport
    | Refuse
    | Heartbeat
    | JobSaid
    | JobStreamEnded
    | Suspected
    | Ended
)


class CoordinatorSession:
    def __init__(self, name: str, keys: KeyLookup, binding: Binding, server_nonce: bytes, now: float) -> None:
        self._entrance = Entrance(name, keys, binding, server_nonce, now)
        self._phase = self._entrance.phase
        self._out = Outbox()
        self._decoder = FrameDecoder()
        self._bucket = TokenBucket(CONTROL_RATE, CONTROL_BURST, now)
        self._pulse = Pulse(QUIET, now, self._out.nudge)
        self._waited_for = WaitedFor()
        self._job_streams = JobStreams(self._out.credit, self._over)
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
                    self._job_streams.receive(stream_id, data, end, events.append)
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
        if stream_id == CONTROL_STREAM:
            self._end(CloseCode.PROTOCOL, "The worker reset the control stream.", events)
        elif (ended := self._job_streams.reset(stream_id)) is not None:
            events.append(ended)
        return events

    def admit(self, welcome: Welcome, now: float) -> None:
        """Open the session."""
        self._require(Phase.DECISION)
        self._out.say(welcome)
        self._phase = Phase.OPEN
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

    def judge_again(self) -> list[CoordinatorEvent]:
        """What comes of a join that was doubted, by the keys that are known now."""
        outcome = self._entrance.judge_again() if self._phase is Phase.DECISION else None
        if isinstance(outcome, TurnedAway):
            return self.reject(outcome.code, outcome.message)
        return [] if outcome is None else [outcome]

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
        if self._phase is Phase.CLOSED:
            return None
        return self._pulse.deadline if self._phase is Phase.OPEN else self._entrance.deadline

    def on_deadline(self, now: float) -> list[CoordinatorEvent]:
        """The time asked for has come, or may have."""
        events: list[CoordinatorEvent] = []
        if self._phase is Phase.OPEN:
            if self._pulse.tick(now):
                events.append(Suspected(silent=True))
        elif self._phase is not Phase.CLOSED and (by := self._entrance.deadline) is not None and now >= by:
            self._end(CloseCode.TIMEOUT, f"Nobody proved to be a worker within {HANDSHAKE_S:.0f} s.", events)
        return events

    # --- before the worker is known -----------------------------------------------------------------------------------

    def _receive_handshake(
        self, stream_id: int, data: bytes, end: bool, wall_time: float, events: list[CoordinatorEvent]
    ) -> None:
        for outcome in self._entrance.receive(stream_id, data, end, wall_time):
            self._phase = self._entrance.phase
            match outcome:
                case Challenge():
                    self._out.say(outcome)
                case TurnedAway():
                    events.extend(self.reject(outcome.code, outcome.message))
                case _:
                    events.append(outcome)

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
        if self._job_streams.has(*lease):
            raise ProtocolError("A story came for a lease that has a stream.")
        events.extend(JobSaid(CONTROL_STREAM, *lease, message, 0) for message in read_story(said.story))
        self._over(*lease)

    def _over(self, job_id: JobId, epoch: int) -> None:
        """Nobody waits for this lease any more."""
        if self._waited_for:
            self._waited_for.discard(job_id, epoch)
            if not self._waited_for:
                self._pulse.keep(QUIET)

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
        self._job_streams.clear()
        if self._ended:
            return []
        self._ended = True
        return [Ended(code, reason, said)]
