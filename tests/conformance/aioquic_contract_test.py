"""Every private name of aioquic that GoGrid touches is there and does what we count on, in the pinned version."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from importlib.metadata import version

import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import HandshakeCompleted, StreamDataReceived
from aioquic.tls import Epoch

from gogrid.errors import IdentityError
from gogrid.identity import create_identity, issue_leaf
from gogrid.protocol import ALPN
from gogrid.quic import private
from gogrid.quic.bounded import (
    CONNECTION_WINDOW,
    FULL_DATAGRAM,
    LARGEST_ACK_DELAY_MS,
    STREAM_WINDOW,
    BoundedQuicConnection,
)

NOW = datetime.now(UTC)
IDENTITY = create_identity("contract", NOW)
LEAF = issue_leaf(IDENTITY, ["localhost"], NOW)
CLIENT, SERVER = ("127.0.0.1", 1), ("127.0.0.1", 2)


class Wire:
    """A client and a server that have shaken hands, in memory."""

    def __init__(self, one_way_streams: int = 32) -> None:
        self.now = 0.0
        self.client = BoundedQuicConnection(
            configuration=QuicConfiguration(alpn_protocols=[ALPN], verify_mode=0),
            peer_streams_both_ways=0,
            peer_streams_one_way=0,
        )
        self.server = BoundedQuicConnection(
            configuration=QuicConfiguration(
                is_client=False,
                alpn_protocols=[ALPN],
                certificate=LEAF.certificate,
                certificate_chain=[LEAF.identity],
                private_key=LEAF.key,
            ),
            original_destination_connection_id=self.client.original_destination_connection_id,
            peer_streams_both_ways=1,
            peer_streams_one_way=one_way_streams,
        )
        self.client.connect(SERVER, now=self.now)
        self.run()

    def run(self) -> None:
        for _ in range(40):
            self.now += 0.03
            for sender, receiver, address in ((self.client, self.server, CLIENT), (self.server, self.client, SERVER)):
                if self.now >= (sender.get_timer() or 1e9):
                    sender.handle_timer(now=self.now)
                for data, _ in sender.datagrams_to_send(now=self.now):
                    receiver.receive_datagram(data, address, now=self.now)

    @staticmethod
    def events(connection: QuicConnection, kind: type) -> list[object]:
        found = []
        while (event := connection.next_event()) is not None:
            if isinstance(event, kind):
                found.append(event)
        return found


def test_the_pinned_version_is_the_one_these_tests_prove() -> None:
    assert version("aioquic") == "1.7.2"


def test_both_ends_derive_one_secret_that_no_other_connection_has() -> None:
    wire, other = Wire(), Wire()
    secret = private.session_secret(wire.client, b"gogrid bind v1")
    assert secret == private.session_secret(wire.server, b"gogrid bind v1")
    assert len(secret) >= 32
    assert secret != private.session_secret(wire.client, b"another label")
    assert secret != private.session_secret(other.client, b"gogrid bind v1")


def test_the_secret_survives_a_key_update() -> None:
    wire = Wire()
    secret = private.session_secret(wire.client, b"gogrid bind v1")
    wire.client.request_key_update()
    wire.client.send_stream_data(0, b"x")
    wire.run()
    assert private.session_secret(wire.server, b"gogrid bind v1") == secret


def test_there_is_no_secret_before_the_handshake() -> None:
    client = BoundedQuicConnection(
        configuration=QuicConfiguration(alpn_protocols=[ALPN]), peer_streams_both_ways=0, peer_streams_one_way=0
    )
    client.connect(SERVER, now=0.0)
    assert private.peer_chain(client) == ()
    with pytest.raises(IdentityError):
        private.session_secret(client, b"gogrid bind v1")


def test_the_client_sees_the_whole_chain_leaf_first() -> None:
    wire = Wire()
    (handshake,) = Wire.events(wire.client, HandshakeCompleted)
    assert isinstance(handshake, HandshakeCompleted)
    assert handshake.alpn_protocol == ALPN
    assert private.peer_chain(wire.client) == LEAF.chain
    assert private.peer_chain(wire.server) == ()
    assert not private.was_resumed(wire.client)


def test_unsent_counts_what_was_written_and_not_acknowledged() -> None:
    wire = Wire()
    wire.client.send_stream_data(0, bytes(5000))
    assert private.unsent(wire.client, 0) == 5000
    wire.run()
    assert private.unsent(wire.client, 0) == 0
    assert private.unsent(wire.client, 400) == 0


def test_what_waits_to_be_sent_is_what_was_written_since_and_what_was_lost() -> None:
    wire = Wire()
    assert not private.has_more(wire.client)
    wire.client.send_stream_data(0, b"lost")
    assert private.has_more(wire.client)
    wire.client.datagrams_to_send(now=wire.now)
    assert not private.has_more(wire.client)
    for _ in range(4):
        wire.client.send_stream_data(0, b"arrives")
        for data, _ in wire.client.datagrams_to_send(now=wire.now):
            wire.server.receive_datagram(data, CLIENT, now=wire.now)
    wire.now += LARGEST_ACK_DELAY_MS / 1000
    for data, _ in wire.server.datagrams_to_send(now=wire.now):
        wire.client.receive_datagram(data, SERVER, now=wire.now)
    assert private.has_more(wire.client)


def test_the_window_does_not_grow_by_itself_and_follows_what_was_handled() -> None:
    wire = Wire()
    wire.client.send_stream_data(0, bytes(STREAM_WINDOW + 10_000))
    for _ in range(40):
        wire.run()
    came = sum(len(event.data) for event in Wire.events(wire.server, StreamDataReceived))  # type: ignore[attr-defined]
    assert came == STREAM_WINDOW
    assert wire.server._local_max_data.value == CONNECTION_WINDOW
    assert wire.server.handled(0, came // 2)
    for _ in range(4):
        wire.run()
    assert wire.server._streams[0].max_stream_data_local == STREAM_WINDOW + came // 2
    came += sum(len(event.data) for event in Wire.events(wire.server, StreamDataReceived))  # type: ignore[attr-defined]
    assert came == STREAM_WINDOW + 10_000
    assert wire.server._local_max_data.value == CONNECTION_WINDOW


def test_a_reset_stream_gives_its_window_back() -> None:
    wire = Wire()
    wire.client.send_stream_data(2, bytes(500_000))
    for _ in range(20):
        wire.run()
    before = wire.server._window.handled
    wire.client.reset_stream(2, 0)
    for data, _ in wire.client.datagrams_to_send(now=wire.now):
        wire.server.receive_datagram(data, CLIENT, now=wire.now)
    wire.server.forget(2)
    assert wire.server._window.handled - before == 500_000


def test_a_peer_opens_only_the_streams_it_was_allowed() -> None:
    wire = Wire(one_way_streams=0)
    stream_id = wire.client.get_next_available_stream_id(is_unidirectional=True)
    assert stream_id == 2
    wire.client.send_stream_data(stream_id, b"early")
    wire.run()
    assert Wire.events(wire.server, StreamDataReceived) == []
    wire.server.allow_one_way_streams(32)
    wire.run()
    (event,) = Wire.events(wire.server, StreamDataReceived)
    assert isinstance(event, StreamDataReceived)
    assert event.data == b"early"


def test_finished_streams_make_room_for_new_ones() -> None:
    wire = Wire(one_way_streams=2)
    for _ in range(10):
        stream_id = wire.client.get_next_available_stream_id(is_unidirectional=True)
        wire.client.send_stream_data(stream_id, b"x", end_stream=True)
        wire.run()
        wire.server.handled(stream_id, 1)
    assert len(Wire.events(wire.server, StreamDataReceived)) == 10
    assert len(wire.server._stream_windows) <= 2


def test_each_end_is_told_how_late_acknowledgements_may_come() -> None:
    wire = Wire()
    assert wire.client._loss.max_ack_delay == wire.server._loss.max_ack_delay == LARGEST_ACK_DELAY_MS / 1000


def test_small_packets_are_acknowledged_together_and_full_ones_soon() -> None:
    wire = Wire()
    for size, latest in ((10, 0.140), (1150, 0.001)):
        wire.client.send_stream_data(0, bytes(size))
        wire.now += 0.5
        for data, _ in wire.client.datagrams_to_send(now=wire.now):
            wire.server.receive_datagram(data, CLIENT, now=wire.now)
        due = wire.server._spaces[Epoch.ONE_RTT].ack_at
        assert due is not None
        assert due == pytest.approx(wire.now + latest)
        wire.run()


def test_a_small_packet_behind_full_ones_is_acknowledged_with_them_at_once() -> None:
    """It is the last of what was said together: a timer of its own would wake both ends once more."""
    wire = Wire()
    wire.client.send_stream_data(0, bytes(1400))
    wire.now += 0.5
    sizes = []
    for data, _ in wire.client.datagrams_to_send(now=wire.now):
        sizes.append(len(data))
        wire.server.receive_datagram(data, CLIENT, now=wire.now)
    assert sizes[0] >= FULL_DATAGRAM > sizes[1]
    assert len(wire.server.datagrams_to_send(now=wire.now)) == 1
    assert wire.server._spaces[Epoch.ONE_RTT].ack_at is None


def test_the_hooks_we_override_are_called_with_the_arguments_we_take() -> None:
    for name in ("_write_connection_limits", "_write_stream_limits"):
        ours = inspect.signature(getattr(BoundedQuicConnection, name))
        theirs = inspect.signature(getattr(QuicConnection, name))
        assert list(ours.parameters) == list(theirs.parameters)
        assert f"self.{name}(" in inspect.getsource(QuicConnection._write_application)
