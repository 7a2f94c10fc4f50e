"""Everything GoGrid takes from aioquic that aioquic does not promise to keep; nothing else may touch such a name.

`tests/conformance/aioquic_contract_test.py` proves each of them against the pinned version.
"""

from aioquic import tls
from aioquic.quic.connection import QuicConnection
from cryptography import x509

from gogrid.errors import IdentityError


def peer_chain(connection: QuicConnection) -> tuple[x509.Certificate, ...]:
    """What the server presented, leaf first; empty before the handshake is complete."""
    context: tls.Context = connection.tls
    leaf = context._peer_certificate
    return () if leaf is None else (leaf, *context._peer_certificate_chain)


def session_secret(connection: QuicConnection, label: bytes) -> bytes:
    """A secret that only the two ends of this TLS session can derive, once its handshake is complete.

    Raises:
        IdentityError: there was no handshake.
    """
    schedule = connection.tls.key_schedule
    if schedule is None:
        raise IdentityError("The connection has no TLS session yet, so nothing can be bound to it.")
    return schedule.derive_secret(label)


def was_resumed(connection: QuicConnection) -> bool:
    """Whether the session was resumed from a ticket, which GoGrid never offers."""
    resumed: bool = connection.tls.session_resumed
    return resumed


def heard_at(connection: QuicConnection) -> float:
    """When the newest packet came that only the peer can have made, on the clock given to aioquic; 0.0: none has."""
    return connection._spaces[tls.Epoch.ONE_RTT].largest_received_time or 0.0


def round_trip_s(connection: QuicConnection) -> float:
    """How long a packet takes there and back, smoothed; 0.0 before the first measurement."""
    loss = connection._loss
    return loss._rtt_smoothed if loss._rtt_initialized else 0.0


def unsent(connection: QuicConnection, stream_id: int) -> int:
    """Bytes written to a stream and not yet acknowledged by the peer; 0 for a stream that is gone."""
    stream = connection._streams.get(stream_id)
    return 0 if stream is None else len(stream.sender._buffer)


def has_more(connection: QuicConnection) -> bool:
    """Whether bytes written to streams wait to be sent for the first time, or again."""
    return any(not stream.sender.buffer_is_empty for stream in connection._streams_queue)
