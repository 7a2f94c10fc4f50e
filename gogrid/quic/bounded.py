"""A QUIC connection whose receive windows follow what was handled, and whose stream counts are ours to set.

aioquic alone doubles its windows on the highest offset it has *seen*, so that a few one-byte frames at the edge of the
window make it allocate gigabytes (aiortc/aioquic#589). Here at most `CONNECTION_WINDOW` bytes are unhandled at any
time, whatever a peer sends, and a peer can open only the streams it was allowed. Small packets, which tokens are, are
acknowledged together: each acknowledgement is a packet of its own, and costs both ends as much as one with data
(2.4 ms of processor time for a token of a single stream with one acknowledgement each, 1.5 ms with one for four). A
small packet behind full ones ends what was said together, and all of it is acknowledged at once.
"""

from aioquic._buffer import Buffer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import NetworkAddress, QuicConnection
from aioquic.quic.packet import pull_quic_transport_parameters, push_quic_transport_parameters
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream
from aioquic.tls import Epoch

from gogrid.protocol.credit import Window
from gogrid.protocol.framing import HEADER_SIZE, MAX_FRAME

CONNECTION_WINDOW = 4 << 20
STREAM_WINDOW = MAX_FRAME + HEADER_SIZE
"""One whole frame fits, or it could never be completed."""

FULL_DATAGRAM = 1150
"""Bytes from which on a datagram tells that its sender has more."""
_ACK_SOON_S = 0.001
LARGEST_ACK_DELAY_MS = 150
"""Announced to the peer, who waits that much longer before it sends again what may be lost."""
_ACK_LATER_S = 0.140
_PARAMETERS_BYTES = 4096


def bounded_configuration(configuration: QuicConfiguration) -> QuicConfiguration:
    """Set the windows that `BoundedQuicConnection` keeps to."""
    configuration.max_data = CONNECTION_WINDOW
    configuration.max_stream_data = STREAM_WINDOW
    return configuration


class BoundedQuicConnection(QuicConnection):
    """Call `handled` with every byte of stream data that was dealt with, or the peer will stop sending."""

    def __init__(
        self,
        *,
        configuration: QuicConfiguration,
        original_destination_connection_id: bytes | None = None,
        retry_source_connection_id: bytes | None = None,
        peer_streams_both_ways: int,
        peer_streams_one_way: int,
    ) -> None:
        """`peer_streams_…`: how many streams of each kind the peer may have open at first."""
        super().__init__(
            configuration=bounded_configuration(configuration),
            original_destination_connection_id=original_destination_connection_id,
            retry_source_connection_id=retry_source_connection_id,
        )
        self._local_max_streams_bidi.value = self._local_max_streams_bidi.sent = peer_streams_both_ways
        self._local_max_streams_uni.value = self._local_max_streams_uni.sent = peer_streams_one_way
        self._window = Window(CONNECTION_WINDOW)
        self._stream_windows: dict[int, Window] = {}

    def receive_datagram(self, data: bytes, addr: NetworkAddress, now: float) -> None:
        soon = len(data) >= FULL_DATAGRAM or not self._handshake_confirmed
        self._ack_delay = _ACK_SOON_S if soon else _ACK_LATER_S
        super().receive_datagram(data, addr, now)
        space = self._spaces[Epoch.ONE_RTT]
        if space.ack_at is None or not self._handshake_confirmed:
            return
        if soon:
            space.ack_at = min(space.ack_at, now + _ACK_SOON_S)
        elif space.ack_at <= now + _ACK_SOON_S:
            space.ack_at = now

    def _serialize_transport_parameters(self) -> bytes:
        """What is announced, with our largest acknowledgement delay in place of aioquic's fixed 25 ms."""
        parameters = pull_quic_transport_parameters(Buffer(data=super()._serialize_transport_parameters()))
        parameters.max_ack_delay = LARGEST_ACK_DELAY_MS
        announced = Buffer(capacity=_PARAMETERS_BYTES)
        push_quic_transport_parameters(announced, parameters)
        return announced.data

    def handled(self, stream_id: int, size: int) -> bool:
        """The application has dealt with `size` bytes of this stream; True if the peer should be told now."""
        moved = self._window.handle(size)
        window = self._stream_windows.get(stream_id)
        if window is None and stream_id in self._streams:
            window = self._open_window(stream_id)
        return (window is not None and window.handle(size)) or moved

    def forget(self, stream_id: int) -> None:
        """The peer reset this stream: what it sent and was not handled never will be."""
        stream = self._streams.get(stream_id)
        window = self._stream_windows.pop(stream_id, None)
        if stream is not None:
            self._window.handle(stream.receiver.highest_offset - (window.handled if window is not None else 0))

    def _open_window(self, stream_id: int) -> Window:
        """A window for this stream, and none any more for streams that are gone."""
        self._stream_windows = {known: it for known, it in self._stream_windows.items() if known in self._streams}
        window = self._stream_windows[stream_id] = Window(STREAM_WINDOW)
        return window

    def allow_one_way_streams(self, count: int) -> None:
        """Let the peer open `count` one-way streams more."""
        self._local_max_streams_uni.value += count

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        limit = self._local_max_data
        limit.value = self._window.limit
        used, limit.used = limit.used, 0
        try:
            super()._write_connection_limits(builder, space)
        finally:
            limit.used = used

    def _write_stream_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream) -> None:
        window = None if stream.stream_id is None else self._stream_windows.get(stream.stream_id)
        if window is not None:
            stream.max_stream_data_local = window.limit
        receiver = stream.receiver
        if stream.max_stream_data_local_sent == stream.max_stream_data_local or receiver.is_finished:
            return
        seen, receiver.highest_offset = receiver.highest_offset, 0
        try:
            super()._write_stream_limits(builder, space, stream)
        finally:
            receiver.highest_offset = seen
