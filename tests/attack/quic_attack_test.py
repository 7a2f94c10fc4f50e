"""What strangers and hostile workers can cost a coordinator, over real datagrams."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aioquic.asyncio import connect, serve
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, StreamDataReceived
from aioquic.quic.packet import encode_quic_version_negotiation
from aioquic.tls import SessionTicket
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from coordinator.quic.limits import Limits
from gogrid.addresses import Address
from gogrid.identity import create_identity, issue_leaf
from gogrid.ids import WorkerId
from gogrid.protocol import ALPN
from gogrid.protocol.codec import encode_framed
from gogrid.protocol.job_messages import JobOpen
from gogrid.protocol.messages import Hello
from gogrid.quic.bounded import STREAM_WINDOW
from runner.link.connection import Connection
from runner.link.coordinator_link import CoordinatorLink, Credentials
from tests.fakes.quic_grid import WorkerNotes, coordinator, wait_until, worker

ROOT = Path(__file__).parents[2]
MB = 1 << 20


@dataclass
class ServerProcess:
    process: subprocess.Popen[str]
    port: int
    worker_id: WorkerId
    pin: bytes

    def usage(self) -> tuple[int, float]:
        """Resident bytes and CPU seconds."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        rss, cpu = self.process.stdout.readline().split()
        return int(rss), float(cpu)


@contextmanager
def server_process(key: Ed25519PrivateKey, *arguments: str) -> Iterator[ServerProcess]:
    command = [sys.executable, "-m", "tests.fakes.quic_server_process", key.public_key().public_bytes_raw().hex()]
    with subprocess.Popen(
        [*command, *arguments], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            port, worker_id, pin = process.stdout.readline().split()
            yield ServerProcess(process, int(port), WorkerId(worker_id), bytes.fromhex(pin))
        finally:
            process.terminate()


def initial_datagram() -> bytes:
    """A first packet as any client would send it, with fresh connection ids."""
    client = QuicConnection(configuration=QuicConfiguration(alpn_protocols=[ALPN], verify_mode=0))
    client.connect(("127.0.0.1", 1), now=0.0)
    (datagram, _), *_ = client.datagrams_to_send(now=0.0)
    return datagram


def test_1500_spoofed_first_packets_cost_less_than_2_mb() -> None:
    packets = [initial_datagram() for _ in range(1500)]
    for arguments in ((), ("--limited",)):
        with (
            server_process(Ed25519PrivateKey.generate(), *arguments) as server,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        ):
            sender.connect(("127.0.0.1", server.port))
            for packet in packets[:50]:
                sender.send(packet)
            time.sleep(0.2)
            before, cpu_before = server.usage()
            for number in range(1500):
                sender.send(packets[number % len(packets)])
                if number % 50 == 0:
                    time.sleep(0.005)
            time.sleep(0.5)
            after, cpu_after = server.usage()
        assert after - before < 2 * MB
        assert (cpu_after - cpu_before) / 1500 < 0.001


async def test_50_sparse_one_byte_frames_at_the_edge_of_the_window_grow_the_server_by_less_than_16_mb() -> None:
    """aiortc/aioquic#589, by a worker that is let in."""
    key = Ed25519PrivateKey.generate()
    with server_process(key) as server:
        notes = WorkerNotes()
        link = CoordinatorLink(
            [Address("127.0.0.1", server.port)], Credentials(server.worker_id, key, server.pin), notes
        )
        task = asyncio.create_task(link.run())
        await wait_until(lambda: bool(notes.welcomes), task)
        before, _ = server.usage()
        connection = link._connection
        assert isinstance(connection, Connection)
        for _ in range(50):
            await asyncio.sleep(0.01)
            send_sparse_byte(connection)
        await asyncio.sleep(0.5)
        after, _ = server.usage()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert after - before < 16 * MB


def send_sparse_byte(connection: Connection) -> None:
    """One byte at the edge of what the server grants now, on each of its streams in turn."""
    quic = connection._quic
    stream_id = quic.get_next_available_stream_id(is_unidirectional=True)
    if stream_id // 4 >= 4:
        stream_id = 2 + 4 * (int(time.monotonic() * 100) % 4)
    else:
        quic.send_stream_data(stream_id, encode_framed(JobOpen(job_id=f"job_{stream_id}", epoch=1)))
        connection._transmit()
    stream = quic._streams.get(stream_id)
    if stream is None:
        return
    edge = min(stream.max_stream_data_remote, quic._remote_max_data) - 1
    stream.sender._buffer_stop = stream.sender._buffer_start = max(stream.sender._buffer_stop, edge)
    stream.sender._buffer.clear()
    stream.sender.highest_offset = edge
    quic._remote_max_data_used = 0
    quic.send_stream_data(stream_id, b"x")
    connection._transmit()


async def test_a_worker_cannot_send_more_than_the_window_that_nobody_reads() -> None:
    async with coordinator() as grid:
        notes = WorkerNotes()
        async with worker(grid, grid.credentials(), notes) as link:
            grid.notes.consume = False
            connection = link._connection
            assert connection is not None
            stream_id = connection.open_job_stream("job_1", 1)
            assert stream_id is not None
            connection._quic.send_stream_data(stream_id, (1 << 20).to_bytes(4, "big") + bytes(3 << 20))
            connection._flush()
            server_side = next(iter(grid.server._cids))
            await wait_until(lambda: server_side._connection._local_max_data.used > 900_000)
            await asyncio.sleep(0.2)
            assert server_side._connection._local_max_data.used < STREAM_WINDOW + 4096
            assert server_side._connection._local_max_data.value < 5 * MB


class Recorder(QuicConnectionProtocol):
    """A client that keeps what happens to it."""

    def __init__(self, *arguments: object, **more: object) -> None:
        super().__init__(*arguments, **more)  # type: ignore[arg-type]
        self.ended: ConnectionTerminated | None = None
        self.received: list[bytes] = []

    def quic_event_received(self, event: object) -> None:
        if isinstance(event, ConnectionTerminated):
            self.ended = event
        elif isinstance(event, StreamDataReceived):
            self.received.append(event.data)


@pytest.mark.parametrize("offered", [None, ["h3"], ["gogrid/2"]])
async def test_a_missing_or_wrong_alpn_is_refused(offered: list[str] | None) -> None:
    async with coordinator() as grid:
        configuration = QuicConfiguration(alpn_protocols=offered, verify_mode=0)
        with pytest.raises(ConnectionError):
            async with connect("127.0.0.1", grid.server.port, configuration=configuration):
                pass
        assert grid.notes.links == []


async def test_a_session_ticket_and_early_data_are_refused() -> None:
    """The ticket is real, from another server with the same identity; ours neither resumes nor takes early data."""
    now = datetime.now(UTC)
    identity = create_identity("test", now)
    leaf = issue_leaf(identity, ["127.0.0.1"], now)
    tickets: list[SessionTicket] = []
    kept: dict[bytes, SessionTicket] = {}
    generous = await serve(
        "127.0.0.1",
        0,
        configuration=QuicConfiguration(
            is_client=False,
            alpn_protocols=[ALPN],
            certificate=leaf.certificate,
            certificate_chain=[leaf.identity],
            private_key=leaf.key,
        ),
        session_ticket_fetcher=kept.get,
        session_ticket_handler=lambda ticket: kept.__setitem__(ticket.ticket, ticket),
    )
    port = generous._transport.get_extra_info("sockname")[1]
    async with connect(
        "127.0.0.1",
        port,
        configuration=QuicConfiguration(alpn_protocols=[ALPN], verify_mode=0),
        session_ticket_handler=tickets.append,
    ) as client:
        await client.ping()
    generous.close()
    assert tickets
    assert tickets[0].max_early_data_size

    async with coordinator(identity=identity) as grid:
        fresh: list[SessionTicket] = []
        configuration = QuicConfiguration(alpn_protocols=[ALPN], verify_mode=0, session_ticket=tickets[0])
        async with connect(
            "127.0.0.1",
            grid.server.port,
            configuration=configuration,
            create_protocol=Recorder,
            session_ticket_handler=fresh.append,
            wait_connected=False,
        ) as client:
            client._quic.send_stream_data(0, encode_framed(Hello(proto_min=1, proto_max=1, software="early")))
            client.transmit()
            await client.wait_connected()
            await client.ping()
            (link,) = grid.server._cids
            assert not client._quic.tls.session_resumed
            assert not link._connection.tls.session_resumed
            assert not link._connection.tls.early_data_accepted
            assert fresh == []


async def test_a_stranger_that_says_nothing_is_shown_out_and_others_still_get_in() -> None:
    limits = Limits(initial_rate=1e6, initial_burst=1e6, strangers_per_network=3, strangers=3)
    async with coordinator(limits=limits) as grid:
        configuration = QuicConfiguration(alpn_protocols=[ALPN], verify_mode=0)
        silent = [connect("127.0.0.1", grid.server.port, configuration=configuration) for _ in range(3)]
        clients = [await one.__aenter__() for one in silent]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await connect("127.0.0.1", grid.server.port, configuration=configuration).__aenter__()
        for one in silent:
            await one.__aexit__(None, None, None)
        async with worker(grid, grid.credentials(), WorkerNotes()):
            assert len(grid.notes.links) == 1
        del clients


async def test_first_packets_of_one_network_are_counted_before_any_cryptography() -> None:
    limits = Limits(initial_rate=1.0, initial_burst=5.0)
    async with coordinator(limits=limits) as grid:
        answers = await exchange(grid.server.port, [initial_datagram() for _ in range(40)])
        assert len(answers) <= 6


async def test_no_answer_is_larger_than_three_times_its_question_before_an_address_is_proved() -> None:
    async with coordinator() as grid:
        for question in (initial_datagram(), unknown_version()):
            answers = await exchange(grid.server.port, [question])
            assert 0 < sum(map(len, answers)) <= 3 * len(question)


async def test_version_negotiation_and_short_packets_are_never_answered() -> None:
    async with coordinator() as grid:
        reflected = encode_quic_version_negotiation(
            source_cid=bytes(8), destination_cid=bytes(8), supported_versions=[0x1A2A3A4A] * 400
        )
        short = initial_datagram()[:1100]
        assert await exchange(grid.server.port, [reflected, short, unknown_version()[:600], b"", b"\x40" * 1300]) == []


def unknown_version() -> bytes:
    packet = bytearray(initial_datagram())
    packet[1:5] = b"\x0a\x0a\x0a\x0a"
    return bytes(packet)


async def exchange(port: int, datagrams: list[bytes]) -> list[bytes]:
    """What comes back for these datagrams within a moment."""
    answers: list[bytes] = []

    class Ear(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            answers.append(data)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Ear, remote_addr=("127.0.0.1", port))
    for datagram in datagrams:
        transport.sendto(datagram)
    await asyncio.sleep(0.3)
    transport.close()
    return answers
