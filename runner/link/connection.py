"""One QUIC connection to the coordinator: dialled, its pin checked, then driven by `WorkerSession`.

Promises: no stream byte leaves before the coordinator's chain was checked against the pin; everything said within one
turn of the event loop leaves in one pass; there is one timer.
"""

import asyncio
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

from aioquic.quic import events as quic_events
from aioquic.quic.configuration import QuicConfiguration
from cryptography.hazmat.primitives.serialization import Encoding

import gogrid
from gogrid.addresses import Address
from gogrid.errors import CloseCode, IdentityError
from gogrid.identity import check_chain
from gogrid.ids import JobId
from gogrid.protocol import ALPN
from gogrid.protocol.auth import BINDING_LABEL, NONCE_SIZE, Binding
from gogrid.protocol.job_messages import JobMessage
from gogrid.protocol.messages import LeaseHeld, Refuse
from gogrid.protocol.session import Close, Ended, Nudge, Phase, Send, close_code
from gogrid.protocol.worker_report import WorkerReport
from gogrid.protocol.worker_session import KeyProof, TokenProof, WorkerEvent, WorkerSession
from gogrid.quic.bounded import BoundedQuicConnection
from gogrid.quic.private import has_more, heard_at, peer_chain, session_secret, unsent, was_resumed
from gogrid.quic.timer import LazyTimer
from runner.errors import LinkError
from runner.link.job_stream import QuicJobStream

DIAL_S = 5.0
"""For one address: from the first packet to a checked pin."""
IDLE_TIMEOUT_S = 20.0
UNSENT_BYTES = 256 << 10
"""With more than this unsent on its stream, a job should wait."""


class Connection(asyncio.DatagramProtocol):
    """Tells `on_event` what the session says; `ended` resolves to how it ended."""

    def __init__(self, pin: bytes, proof: KeyProof | TokenProof, on_event: Callable[[WorkerEvent], None]) -> None:
        self._pin = pin
        self._proof = proof
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._quic = BoundedQuicConnection(
            configuration=QuicConfiguration(
                alpn_protocols=[ALPN],
                idle_timeout=IDLE_TIMEOUT_S,
                verify_mode=0,  # ssl.CERT_NONE: the pin is checked instead, before the first stream byte
            ),
            peer_streams_both_ways=0,
            peer_streams_one_way=0,
        )
        self._transport: asyncio.DatagramTransport | None = None
        self._peer: Any = None
        self._session: WorkerSession | None = None
        self._flush_handle: asyncio.Handle | None = None
        self._due = True
        """Something may have to be sent of which no timer tells."""
        self._timer = LazyTimer(self._loop, self._on_timer)
        self._gathering: list[QuicJobStream] = []
        """Streams that have said something in this turn of the event loop, and may end in it."""
        self._drain_waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._shaken = self._loop.create_future()
        self.ended: asyncio.Future[Ended] = self._loop.create_future()

    # --- use ----------------------------------------------------------------------------------------------------------

    @property
    def identity_pem(self) -> bytes:
        """The coordinator's checked identity certificate; empty before the handshake."""
        chain = peer_chain(self._quic)
        return chain[-1].public_bytes(Encoding.PEM) if chain else b""

    async def handshake(self) -> None:
        """Wait until the coordinator is proved to be the pinned one.

        Raises:
            IdentityError: it is somebody else; it was sent nothing.
            LinkError: there was no handshake.
        """
        await asyncio.shield(self._shaken)

    def open(self) -> None:
        """Begin the session: nothing was said before."""
        if self._session is not None:
            self._session.start(self._loop.time())
            self._flush_soon()

    def report(self, report: WorkerReport) -> None:
        self._say(report)

    def refuse(self, refuse: Refuse) -> None:
        self._say(refuse)

    def heartbeat(self, held: tuple[LeaseHeld, ...]) -> None:
        if self._session is not None:
            self._session.heartbeat(held, self._loop.time())
            self._flush_soon()

    @property
    def peer(self) -> Any:
        """The coordinator's socket address."""
        return self._peer

    def doubt(self) -> None:
        """Find out soon whether the coordinator still hears us; `ended` resolves if not."""
        if self._session is not None:
            self._session.doubt(self._loop.time())
            self._flush_soon()

    def job_stream(self, job_id: JobId, epoch: int) -> QuicJobStream:
        return QuicJobStream(self, job_id, epoch)

    def close(self, code: CloseCode, reason: str) -> None:
        """Say goodbye; `ended` resolves."""
        if self._session is not None:
            self._handle(self._session.close(code, reason))
        else:
            self._quic.close(error_code=code, reason_phrase=reason)
            self._finish(Ended(code, reason))
        self._flush_soon()

    async def dispose(self) -> None:
        """Let go of the socket; what was said before is sent."""
        self._flush()
        self._timer.cancel()
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        self._finish(Ended(CloseCode.NORMAL, "closed"))
        if self._transport is not None:
            self._transport.close()
            self._transport = None
            await asyncio.sleep(0)

    # --- for job streams ----------------------------------------------------------------------------------------------

    def gather(self, stream: QuicJobStream) -> None:
        """Ask it at the end of this turn to send what it holds."""
        self._gathering.append(stream)
        self._flush_soon()

    def tell_job(self, job_id: JobId, epoch: int, story: bytes) -> None:
        """Send all of a lease at once."""
        if self._session is not None:
            self._session.tell(job_id, epoch, story)
            self._flush_soon()

    def open_job_stream(self, job_id: JobId, epoch: int) -> int | None:
        """The new stream's id; None on a dead link."""
        if self._session is None or self._session.phase is not Phase.OPEN:
            return None
        self._flush_outputs(self._session)
        stream_id = self._quic.get_next_available_stream_id(is_unidirectional=True)
        self._session.open_job(stream_id, job_id, epoch)
        self._flush_outputs(self._session)
        return stream_id

    def send_job(self, stream_id: int, message: JobMessage) -> None:
        if self._session is not None:
            self._session.send_job(stream_id, message)
            self._flush_soon()

    def abandon_job(self, stream_id: int) -> None:
        if self._session is not None:
            self._session.abandon_job(stream_id)
            self._flush_soon()

    async def drained(self, stream_id: int) -> None:
        if self._session is not None:
            self._flush_outputs(self._session)
        if self.ended.done() or unsent(self._quic, stream_id) <= UNSENT_BYTES:
            return
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._drain_waiters.append((stream_id, waiter))
        await waiter

    # --- datagrams ----------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self._peer = transport.get_extra_info("peername")
        self._quic.connect(self._peer, now=self._loop.time())
        self._flush_soon()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._quic.receive_datagram(data, self._peer, now=self._loop.time())
        self._take_quic_events()
        self._wake_drained()
        self._flush_soon()

    def error_received(self, exc: Exception) -> None:
        """The system says that nobody listens there: believed only while there is nothing to lose."""
        self._fail(LinkError(f"nobody answers there ({exc})"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    # --- QUIC ---------------------------------------------------------------------------------------------------------

    def _take_quic_events(self) -> None:
        event = self._quic.next_event()
        while event is not None:
            match event:
                case quic_events.HandshakeCompleted():
                    self._on_handshake(event.alpn_protocol)
                case quic_events.StreamDataReceived():
                    self._on_stream_data(event.stream_id, event.data, event.end_stream)
                case quic_events.StreamReset():
                    self.close(CloseCode.PROTOCOL, "The coordinator reset a stream.")
                case quic_events.ConnectionTerminated():
                    self._on_terminated(event)
            event = self._quic.next_event()

    def _on_handshake(self, alpn: str | None) -> None:
        try:
            if alpn != ALPN or was_resumed(self._quic):
                raise IdentityError("The coordinator does not speak GoGrid's protocol; check the address.")
            check_chain(peer_chain(self._quic), self._pin, datetime.now(UTC))
        except IdentityError as error:
            self._quic.close(error_code=CloseCode.PIN_MISMATCH, reason_phrase="another identity was expected")
            self._fail(error)
            return
        binding = Binding(self._pin, session_secret(self._quic, BINDING_LABEL))
        nonce = secrets.token_bytes(NONCE_SIZE)
        self._session = WorkerSession(self._proof, binding, nonce, f"gogrid/{gogrid.__version__}")
        if not self._shaken.done():
            self._shaken.set_result(None)

    def _on_stream_data(self, stream_id: int, data: bytes, end: bool) -> None:
        if self._session is not None:
            self._quic.handled(stream_id, len(data))
            self._handle(self._session.receive(stream_id, data, end, self._loop.time()))

    def _on_terminated(self, event: quic_events.ConnectionTerminated) -> None:
        if event.frame_type is None:
            code, reason = close_code(event.error_code), event.reason_phrase or "The coordinator closed the connection."
        else:
            code, reason = CloseCode.TIMEOUT, event.reason_phrase or "the connection broke"
        self._fail(LinkError(reason))
        if self._session is not None:
            self._handle(self._session.connection_lost(code, reason))
        self._finish(Ended(code, reason))

    def _handle(self, events: list[WorkerEvent]) -> None:
        for event in events:
            self._on_event(event)
            if isinstance(event, Ended):
                self._finish(event)

    def _fail(self, error: IdentityError | LinkError) -> None:
        """No handshake came about."""
        if not self._shaken.done():
            self._shaken.set_exception(error)
            self._shaken.exception()  # whoever waited may have given up before

    def _finish(self, ended: Ended) -> None:
        self._fail(LinkError(ended.reason))
        if not self.ended.done():
            self.ended.set_result(ended)
        self._wake_drained()

    # --- out ----------------------------------------------------------------------------------------------------------

    def _say(self, message: WorkerReport | Refuse) -> None:
        if self._session is not None:
            self._session.send(message)
            self._flush_soon()

    def _flush_soon(self) -> None:
        self._due = True
        if self._flush_handle is None and self._transport is not None:
            self._flush_handle = self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        gathering, self._gathering = self._gathering, []
        for stream in gathering:
            stream.turn_over()
        self._flush_handle = None
        if self._transport is None:
            return
        if self._session is not None:
            self._flush_outputs(self._session)
        if self._due or has_more(self._quic):
            self._transmit()
        self._timer.need_by(self._deadline())

    def _flush_outputs(self, session: WorkerSession) -> None:
        for output in session.take_outputs(self._loop.time()):
            match output:
                case Send():
                    self._quic.send_stream_data(output.stream_id, output.data, output.end)
                case Close():
                    self._transmit()
                    self._quic.close(error_code=output.code, reason_phrase=output.reason)
                case Nudge():
                    self._quic.send_ping(0)
            self._due = True

    def _transmit(self) -> None:
        self._due = False
        if self._transport is not None:
            for data, _ in self._quic.datagrams_to_send(now=self._loop.time()):
                self._transport.sendto(data)

    def _wake_drained(self) -> None:
        if not self._drain_waiters:
            return
        waiting: list[tuple[int, asyncio.Future[None]]] = []
        for stream_id, waiter in self._drain_waiters:
            if self.ended.done() or unsent(self._quic, stream_id) <= UNSENT_BYTES:
                if not waiter.done():
                    waiter.set_result(None)
            else:
                waiting.append((stream_id, waiter))
        self._drain_waiters = waiting

    def _deadline(self) -> float | None:
        times = (self._quic.get_timer(), None if self._session is None else self._session.next_deadline())
        return min((at for at in times if at is not None), default=None)

    def _on_timer(self) -> None:
        now = self._loop.time()
        at = self._quic.get_timer()
        if at is not None and now >= at:
            self._quic.handle_timer(now=now)
            self._take_quic_events()
            self._due = True
        if self._session is not None:
            self._session.heard(heard_at(self._quic))
            self._handle(self._session.on_deadline(now))
        self._flush()


async def dial(
    address: Address,
    pin: bytes,
    proof: KeyProof | TokenProof,
    on_event: Callable[[WorkerEvent], None],
    *,
    local_host: str | None = None,
) -> Connection:
    """Connect to one address and check the pin; `Connection.open` then begins the session.

    Args:
        local_host: the address of this machine to dial from; None: the system chooses.

    Raises:
        IdentityError: the coordinator there is not the pinned one; it was sent nothing.
        LinkError: there is no coordinator there.
    """
    loop = asyncio.get_running_loop()
    try:
        _, connection = await loop.create_datagram_endpoint(
            lambda: Connection(pin, proof, on_event),
            remote_addr=(address.host, address.port),
            local_addr=None if local_host is None else (local_host, 0),
        )
    except OSError as error:
        raise LinkError(f"{address}: {error.strerror or error}") from None
    try:
        async with asyncio.timeout(DIAL_S):
            await connection.handshake()
    except TimeoutError:
        await connection.dispose()
        raise LinkError(f"{address}: no answer within {DIAL_S:.0f} s; is UDP allowed?") from None
    except LinkError as error:
        await connection.dispose()
        raise LinkError(f"{address}: {error}") from None
    except BaseException:
        await connection.dispose()
        raise
    return connection
