"""The coordinator's UDP endpoint: who gets a connection at all.

Promises: a stranger's datagram costs a token of its network's bucket before any cryptography; a connection is made only
for an address that answered a Retry; there are no tickets, no 0-RTT and no other protocol than `gogrid/1`. What is
dropped is dropped in silence: honest peers retransmit.
"""

import asyncio
import os
import socket
from typing import Any, cast

from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # re-exported without saying so
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE, QuicConfiguration
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.retry import QuicRetryTokenHandler

from coordinator.links import Directory, LinkHandler
from coordinator.quic.door import Door
from coordinator.quic.limits import Gate, Limits, network_of
from coordinator.quic.link import LinkContext, QuicLink
from coordinator.quic.terms import Terms
from gogrid.errors import CloseCode
from gogrid.identity import Leaf
from gogrid.ids import WorkerId
from gogrid.protocol import ALPN
from gogrid.quic.bounded import BoundedQuicConnection

IDLE_TIMEOUT_S = 20.0
_RECEIVE_BUFFER = 4 << 20
_NO_LIMITS_GIVEN = Limits()


async def serve_quic(
    host: str,
    port: int,
    *,
    leaf: Leaf,
    directory: Directory,
    handler: LinkHandler,
    terms: Terms,
    limits: Limits = _NO_LIMITS_GIVEN,
) -> "QuicServer":
    """Listen for workers; port 0 takes a free one.

    Raises:
        OSError: the address cannot be bound.
    """
    loop = asyncio.get_running_loop()
    server = QuicServer(leaf, directory, handler, terms, limits)
    await loop.create_datagram_endpoint(lambda: server, local_addr=(host, port))
    return server


class QuicServer(asyncio.DatagramProtocol):
    def __init__(self, leaf: Leaf, directory: Directory, handler: LinkHandler, terms: Terms, limits: Limits) -> None:
        self._loop = asyncio.get_running_loop()
        self.leaf = leaf
        self._configuration = _configuration(leaf)
        self._retry = QuicRetryTokenHandler()
        self._gate = Gate(limits)
        door = Door(directory, self.current)
        self._context = LinkContext(directory, handler, terms, door, leaf.identity, self, self._sendto)
        self._transport: asyncio.DatagramTransport | None = None
        self._by_cid: dict[bytes, QuicLink] = {}
        self._cids: dict[QuicLink, set[bytes]] = {}
        self._strangers: dict[QuicLink, str] = {}
        self._by_worker: dict[WorkerId, QuicLink] = {}

    @property
    def port(self) -> int:
        if self._transport is None:
            return 0
        port: int = self._transport.get_extra_info("sockname")[1]
        return port

    def use_leaf(self, leaf: Leaf) -> None:
        """Present a renewed leaf of the same identity to connections from now on."""
        self.leaf = leaf
        self._configuration = _configuration(leaf)

    async def close(self) -> None:
        """Tell every worker that the coordinator stops, and stop listening."""
        links = list(self._cids)
        for link in links:
            link.close(CloseCode.SHUTDOWN, "The coordinator is stopping.")
        for link in links:
            link.abort()
        if self._transport is not None:
            self._transport.close()
        await asyncio.sleep(0)

    # --- datagrams ----------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        bound: socket.socket | None = transport.get_extra_info("socket")
        if bound is not None:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        link = self._by_cid.get(data[1 : 1 + self._configuration.connection_id_length]) if _is_short(data) else None
        if link is None:
            link = self._by_header(data, addr)
        if link is not None:
            link.datagram_received(data, addr)

    def _by_header(self, data: bytes, address: Any) -> QuicLink | None:
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=self._configuration.connection_id_length)
        except ValueError:
            return None
        return self._by_cid.get(header.destination_cid) or self._on_stranger(data, header, address)

    def _on_stranger(self, data: bytes, header: QuicHeader, address: Any) -> QuicLink | None:
        """A datagram of no known connection: a new link, or None."""
        network = network_of(address[0])
        if (
            header.version is None
            or header.packet_type is QuicPacketType.VERSION_NEGOTIATION
            or len(data) < SMALLEST_MAX_DATAGRAM_SIZE
            or not self._gate.may_knock(network, self._loop.time())
        ):
            return None
        if header.version not in self._configuration.supported_versions:
            self._sendto(
                encode_quic_version_negotiation(
                    source_cid=header.destination_cid,
                    destination_cid=header.source_cid,
                    supported_versions=self._configuration.supported_versions,
                ),
                address,
            )
            return None
        if header.packet_type is not QuicPacketType.INITIAL:
            return None
        if not header.token:
            self._send_retry(header, header.version, address)
            return None
        return self._admit(header, address, network)

    def _send_retry(self, header: QuicHeader, version: int, address: Any) -> None:
        source_cid = os.urandom(self._configuration.connection_id_length)
        token = self._retry.create_token(
            address=address,
            original_destination_connection_id=header.destination_cid,
            retry_source_connection_id=source_cid,
            now=self._loop.time(),
        )
        packet = encode_quic_retry(
            version=version,
            source_cid=source_cid,
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=token,
        )
        self._sendto(packet, address)

    def _admit(self, header: QuicHeader, address: Any, network: str) -> QuicLink | None:
        """The address is proved by its Retry token: make a connection, unless too many strangers have one."""
        now = self._loop.time()
        try:
            original_cid = self._retry.validate_token(
                address=address, destination_cid=header.destination_cid, token=header.token, now=now
            )
        except ValueError:
            return None
        if not self._gate.enter(network):
            return None
        connection = BoundedQuicConnection(
            configuration=self._configuration,
            original_destination_connection_id=original_cid,
            retry_source_connection_id=header.destination_cid,
            peer_streams_both_ways=1,
            peer_streams_one_way=0,
        )
        link = QuicLink(self._context, connection, now)
        self._strangers[link] = network
        self._cids[link] = set()
        self.cid_issued(header.destination_cid, link)
        self.cid_issued(connection.host_cid, link)
        return link

    def _sendto(self, data: bytes, address: Any) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, address)

    # --- Registry -----------------------------------------------------------------------------------------------------

    def cid_issued(self, cid: bytes, link: QuicLink) -> None:
        self._by_cid[cid] = link
        self._cids[link].add(cid)

    def cid_retired(self, cid: bytes) -> None:
        link = self._by_cid.pop(cid, None)
        if link is not None:
            self._cids[link].discard(cid)

    def known(self, link: QuicLink) -> None:
        network = self._strangers.pop(link, None)
        if network is not None:
            self._gate.leave(network)

    def current(self, worker_id: WorkerId) -> QuicLink | None:
        return self._by_worker.get(worker_id)

    def opened(self, link: QuicLink) -> None:
        self._by_worker[link.worker.id] = link

    def ended(self, link: QuicLink) -> None:
        if link.session_epoch and self._by_worker.get(link.worker.id) is link:
            del self._by_worker[link.worker.id]

    def terminated(self, link: QuicLink) -> None:
        self.known(link)
        self.ended(link)
        for cid in self._cids.pop(link, ()):
            self._by_cid.pop(cid, None)


def _is_short(data: bytes) -> bool:
    """Whether it has the header of an open connection, which begins with our id of it (RFC 9000, 17.3)."""
    return len(data) > 1 and not data[0] & 0x80


def _configuration(leaf: Leaf) -> QuicConfiguration:
    return QuicConfiguration(
        is_client=False,
        alpn_protocols=[ALPN],
        idle_timeout=IDLE_TIMEOUT_S,
        certificate=leaf.certificate,
        certificate_chain=[leaf.identity],
        private_key=leaf.key,
    )
