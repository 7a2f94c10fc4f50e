"""One worker's QUIC connection on the coordinator: bytes in, decisions of `CoordinatorSession`, bytes out.

Everything that happens within one turn of the event loop leaves in one pass (`_flush`); there is one timer. What a
worker says is usually answered by nothing but an acknowledgement, which has time: then nothing is looked for to send.
Calls of `WorkerLink` never block and never raise. A revoked worker is cut off when its next frame comes.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from aioquic.quic import events as quic_events
from cryptography import x509

from coordinator.links import Directory, LinkHandler
from coordinator.quic.admission import DirectoryKeys
from coordinator.quic.door import Door
from coordinator.quic.flows import JobFlows
from coordinator.quic.terms import Terms
from coordinator.records import WorkerRecord, WorkerStatus
from gogrid.errors import CloseCode, ProtocolError
from gogrid.identity import spki_pin
from gogrid.ids import JobId, WorkerId
from gogrid.protocol.auth import BINDING_LABEL, NONCE_SIZE, Binding
from gogrid.protocol.coordinator_session import CoordinatorEvent, CoordinatorSession
from gogrid.protocol.entrance import Authenticated, JoinDoubted, JoinProved
from gogrid.protocol.job_messages import FailCode, Failed
from gogrid.protocol.job_streams import JobSaid, JobStreamEnded
from gogrid.protocol.messages import Assign, Cancel, Drain, Heartbeat, HeartbeatAck, Refuse, Settled, Welcome
from gogrid.protocol.session import (
    CONTROL_STREAM,
    HANDSHAKE_S,
    MAX_JOB_STREAMS,
    Close,
    Credit,
    Ended,
    Nudge,
    Phase,
    Send,
    Suspected,
    close_code,
)
from gogrid.protocol.worker_report import WorkerReport
from gogrid.quic.bounded import FULL_DATAGRAM, BoundedQuicConnection
from gogrid.quic.private import has_more, heard_at, round_trip_s, session_secret, unsent
from gogrid.quic.timer import LazyTimer

log = logging.getLogger(__name__)

UNSENT_BYTES = 8 << 20
"""A worker that leaves this much of its control stream unread is cut off."""
LINGER_S = 2.0
"""For a peer that was told why to leave by itself."""


class Registry(Protocol):
    """What a link asks of its server."""

    def cid_issued(self, cid: bytes, link: "QuicLink") -> None: ...

    def cid_retired(self, cid: bytes) -> None: ...

    def known(self, link: "QuicLink") -> None:
        """The peer is no stranger any more."""

    def current(self, worker_id: WorkerId) -> "QuicLink | None":
        """The worker's open link."""

    def opened(self, link: "QuicLink") -> None: ...

    def ended(self, link: "QuicLink") -> None:
        """The session is over; the connection still lingers and counts."""

    def terminated(self, link: "QuicLink") -> None: ...


@dataclass(frozen=True, slots=True)
class LinkContext:
    """What all links of one server share."""

    directory: Directory
    handler: LinkHandler
    terms: Terms
    door: Door
    identity: x509.Certificate
    registry: Registry
    sendto: Callable[[bytes, Any], None]


class QuicLink:
    """Implements `coordinator.links.WorkerLink` once the session is open."""

    def __init__(self, context: LinkContext, connection: BoundedQuicConnection, now: float) -> None:
        self._context = context
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._session: CoordinatorSession | None = None
        self._handshake_by = now + HANDSHAKE_S
        self._record: WorkerRecord | None = None
        self._epoch = 0
        self._ticket = ""
        self._flows = JobFlows()
        self._decision: asyncio.Task[None] | None = None
        self._flush_handle: asyncio.Handle | None = None
        self._due = True
        """Something may have to be sent of which no timer tells."""
        self._heard_from: Any = None
        self._timer = LazyTimer(self._loop, self._on_timer)
        self._closing: Close | None = None
        self._close_by: float | None = None
        self._gone = False

    def __repr__(self) -> str:
        who = self._record.id if self._record else "stranger"
        return f"<QuicLink {who} epoch {self._epoch} from {self.remote}>"

    # --- WorkerLink ---------------------------------------------------------------------------------------------------

    @property
    def worker(self) -> WorkerRecord:
        if self._record is None:
            raise ProtocolError("This link's worker has not proved itself yet.")
        return self._context.directory.worker(self._record.id) or self._record

    @property
    def session_epoch(self) -> int:
        return self._epoch

    @property
    def ticket(self) -> str:
        return self._ticket

    @property
    def remote(self) -> str:
        address = self._connection.get_peer_address()
        if address is None:
            return "unknown"
        return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"

    def send(self, message: Assign | Cancel | Drain | HeartbeatAck | Settled) -> None:
        if self._session is None:
            return
        try:
            self._session.send(message, self._loop.time(), round_trip_s(self._connection))
        except ProtocolError as error:
            log.warning("%r: %s", self, error)
            if isinstance(message, Assign):
                failed = Failed(code=FailCode.BAD_REQUEST, message="The request is too large to be sent to a worker.")
                say = self._context.handler.job_message
                self._loop.call_soon(say, self, message.job_id, message.epoch, failed, 0)
        self._flush_soon()

    def consumed(self, job_id: JobId, epoch: int, size: int) -> None:
        stream_id, size = self._flows.handled((job_id, epoch), size)
        if size and self._connection.handled(stream_id, size):
            self._flush_soon()

    def close(self, code: CloseCode, reason: str) -> None:
        if self._session is None:
            self._close_soon(Close(code, reason))
        else:
            self._handle(self._session.close(code, reason))
        self._flush_soon()

    # --- from the server ----------------------------------------------------------------------------------------------

    def datagram_received(self, data: bytes, address: Any) -> None:
        self._connection.receive_datagram(data, address, now=self._loop.time())
        only_data = self._take_quic_events()
        if self._session is not None and self._session.suspects:
            self._handle(self._session.heard(heard_at(self._connection)))
        if not only_data or len(data) >= FULL_DATAGRAM or address != self._heard_from:
            self._due, self._heard_from = True, address
        self._look_soon()

    def abort(self) -> None:
        """The server stops: nothing may run after this."""
        self._flush_now()
        if self._close_by is not None:
            self._close_by = 0.0
            self._flush_now()
        self._terminate("The coordinator is stopping.")

    # --- QUIC ---------------------------------------------------------------------------------------------------------

    def _take_quic_events(self) -> bool:
        """Whether there was data of streams, and nothing else."""
        event = self._connection.next_event()
        only_data = event is not None
        while event is not None:
            if isinstance(event, quic_events.StreamDataReceived):
                self._on_stream_data(event.stream_id, event.data, event.end_stream)
                event = self._connection.next_event()
                continue
            only_data = False
            match event:
                case quic_events.StreamReset():
                    self._on_stream_reset(event.stream_id)
                case quic_events.HandshakeCompleted():
                    self._on_handshake()
                case quic_events.ConnectionIdIssued():
                    self._context.registry.cid_issued(event.connection_id, self)
                case quic_events.ConnectionIdRetired():
                    self._context.registry.cid_retired(event.connection_id)
                case quic_events.ConnectionTerminated():
                    self._on_terminated(event)
            event = self._connection.next_event()
        return only_data

    def _on_handshake(self) -> None:
        binding = Binding(spki_pin(self._context.identity), session_secret(self._connection, BINDING_LABEL))
        keys = DirectoryKeys(self._context.directory)
        nonce = secrets.token_bytes(NONCE_SIZE)
        self._session = CoordinatorSession(self._context.terms.name, keys, binding, nonce, self._loop.time())

    def _on_stream_data(self, stream_id: int, data: bytes, end: bool) -> None:
        session = self._session
        if session is None or session.phase is Phase.CLOSED:
            return
        if self._is_revoked():
            self._handle(session.close(CloseCode.REVOKED, "This worker was revoked by the coordinator's admin."))
            return
        if stream_id == CONTROL_STREAM and self._connection.handled(stream_id, len(data)):
            self._due = True
        self._handle(session.receive(stream_id, data, end, self._loop.time(), time.time()))

    def _on_stream_reset(self, stream_id: int) -> None:
        self._connection.forget(stream_id)
        self._flows.reset(stream_id)
        if self._session is not None:
            self._handle(self._session.stream_reset(stream_id))

    def _on_terminated(self, event: quic_events.ConnectionTerminated) -> None:
        if event.frame_type is None:
            reason, code = event.reason_phrase or "The worker closed the connection.", close_code(event.error_code)
        else:
            reason, code = event.reason_phrase or "The connection broke.", CloseCode.TIMEOUT
        if self._session is not None:
            self._handle(self._session.connection_lost(code, reason))
        self._terminate(reason)

    def _is_revoked(self) -> bool:
        if self._record is None:
            return False
        record = self._context.directory.worker(self._record.id)
        return record is None or record.status is WorkerStatus.REVOKED

    # --- session events -----------------------------------------------------------------------------------------------

    def _handle(self, events: list[CoordinatorEvent]) -> None:
        handler = self._context.handler
        for event in events:
            match event:
                case JobSaid():
                    self._on_job_said(event)
                case JobStreamEnded():
                    self._on_job_ended(event)
                case Heartbeat():
                    handler.heartbeat(self, event)
                case WorkerReport():
                    handler.reported(self, event)
                case Refuse():
                    handler.refused(self, event)
                case Suspected():
                    handler.suspected(self, event.silent)
                case Authenticated() | JoinProved() | JoinDoubted() if self._session is not None:
                    deciding = self._context.door.decide(self, self._session, event)
                    self._decision = self._loop.create_task(deciding)
                case Ended():
                    self._on_ended(event)

    def _on_job_said(self, said: JobSaid) -> None:
        self._flows.came((said.job_id, said.epoch), said.stream_id, said.size)
        self._context.handler.job_message(self, said.job_id, said.epoch, said.message, said.size)

    def _on_job_ended(self, ended: JobStreamEnded) -> None:
        self._flows.ended((ended.job_id, ended.epoch))
        self._context.handler.job_stream_ended(self, ended.job_id, ended.epoch)

    def _on_ended(self, ended: Ended) -> None:
        was_open = self._epoch > 0
        self._context.registry.ended(self)
        if was_open:
            log.info("%r ended: %s", self, ended.reason)
            for_good = ended.code is CloseCode.REVOKED or (ended.said and ended.code is CloseCode.SHUTDOWN)
            self._context.handler.disconnected(self, ended.reason, for_good=for_good)
        elif ended.code is CloseCode.NORMAL:
            log.info("%s: %s", self.remote, ended.reason)
        else:
            log.info("no session for %s: %s", self.remote, ended.reason)

    # --- before the door ----------------------------------------------------------------------------------------------

    def let_in(self, record: WorkerRecord, epoch: int) -> None:
        """The door has decided: the session opens."""
        if self._session is None:
            return
        self._record, self._epoch = record, epoch
        self._ticket = secrets.token_urlsafe(32)
        self._session.admit(self.welcome(record), self._loop.time())
        self._connection.allow_one_way_streams(MAX_JOB_STREAMS)
        self._context.registry.known(self)
        self._context.registry.opened(self)
        log.info("%r opened", self)
        self._context.handler.connected(self)

    def welcome(self, record: WorkerRecord) -> Welcome:
        return self._context.terms.welcome(record, self._epoch, self._ticket)

    def take(self, events: list[CoordinatorEvent]) -> None:
        self._handle(events)
        self._flush_soon()

    # --- out ----------------------------------------------------------------------------------------------------------

    def _flush_soon(self) -> None:
        self._due = True
        self._look_soon()

    def _look_soon(self) -> None:
        if self._flush_handle is None and not self._gone:
            self._flush_handle = self._loop.call_soon(self._flush)

    def _flush_now(self) -> None:
        self._due = True
        self._flush()

    def _flush(self) -> None:
        self._flush_handle = None
        if self._gone:
            return
        if self._session is not None:
            self._apply_outputs(self._session)
        if self._closing is not None and self._close_by is not None and self._loop.time() >= self._close_by:
            self._connection.close(error_code=self._closing.code, reason_phrase=self._closing.reason)
            self._close_by = None
            self._due = True
        if self._due or has_more(self._connection):
            self._transmit()
        self._timer.need_by(self._deadline())

    def _apply_outputs(self, session: CoordinatorSession) -> None:
        for output in session.take_outputs():
            match output:
                case Send():
                    self._connection.send_stream_data(output.stream_id, output.data, output.end)
                case Credit():
                    self._due = self._connection.handled(output.stream_id, output.size) or self._due
                case Nudge():
                    self._connection.send_ping(0)
                    self._due = True
                case Close():
                    # aioquic forgets what it may have to send again once it closes.
                    self._transmit()
                    self._close_soon(output)
        if session.phase is Phase.OPEN and unsent(self._connection, CONTROL_STREAM) > UNSENT_BYTES:
            self._handle(session.close(CloseCode.TOO_BUSY, "The worker does not read what it is told."))
            self._flush_soon()

    def _close_soon(self, close: Close) -> None:
        self._closing = close
        self._close_by = self._loop.time() + (LINGER_S if close.linger else 0.0)

    def _transmit(self) -> None:
        self._due = False
        for data, address in self._connection.datagrams_to_send(now=self._loop.time()):
            self._context.sendto(data, address)

    def _deadline(self) -> float | None:
        times = [self._connection.get_timer()]
        if self._closing is not None:
            times.append(self._close_by)
        else:
            times.append(self._handshake_by if self._session is None else self._session.next_deadline())
        return min((at for at in times if at is not None), default=None)

    def _on_timer(self) -> None:
        now = self._loop.time()
        at = self._connection.get_timer()
        if at is not None and now >= at:
            self._connection.handle_timer(now=now)
            self._take_quic_events()
            self._due = True
        if self._gone:
            return
        if self._session is not None:
            self._handle(self._session.heard(heard_at(self._connection)))
            self._handle(self._session.on_deadline(now))
        elif self._closing is None and now >= self._handshake_by:
            self._close_soon(Close(CloseCode.TIMEOUT, "The handshake took too long."))
        self._flush()

    def _terminate(self, reason: str) -> None:
        if self._gone:
            return
        self._gone = True
        self._timer.cancel()
        for handle in (self._flush_handle, self._decision):
            if handle is not None:
                handle.cancel()
        self._flows.clear()
        self._context.registry.terminated(self)
        log.debug("%r terminated: %s", self, reason)
