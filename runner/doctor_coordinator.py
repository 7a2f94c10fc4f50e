"""`doctor`'s look at the coordinator: UDP and TCP told apart, so that a firewall that eats one of them is told from a
coordinator that is down, from another coordinator, and from a wrong address.

UDP is proved by a whole handshake up to the checked pin; where none comes about, one datagram of a QUIC version that
nobody speaks is answered by whoever speaks QUIC there, before any certificate. Never authenticates, since that would
end the session of a running worker. All addresses and both protocols are tried at the same time, for two seconds.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import msgspec

from gogrid.addresses import Address
from gogrid.errors import CloseCode, GoGridError, IdentityError
from gogrid.identity import client_context, create_worker_key
from gogrid.protocol.worker_session import KeyProof
from runner.link.connection import dial
from runner.link.membership import Membership
from runner.threads import in_thread

PATIENCE_S = 2.0
_CLOCK_TOLERANCE_S = 60.0
_UNSPOKEN_VERSION = bytes.fromhex("0a1a2a3a")
"""One of those that RFC 9000 keeps for making a server negotiate."""
_SMALLEST_DATAGRAM = 1200


class Check(msgspec.Struct, frozen=True):
    name: str
    ok: bool
    finding: str


@dataclass(frozen=True, slots=True)
class UdpSeen:
    """What one address answered over UDP."""

    address: Address
    proved: bool = False
    """It is the pinned coordinator."""
    stranger: str = ""
    """In words: somebody answers there who is not."""
    speaks_quic: bool = False
    failure: str = ""
    """In words, why there was no handshake."""


@dataclass(frozen=True, slots=True)
class TcpSeen:
    url: str
    answered: bool
    words: str
    """The status, or what went wrong."""
    ahead_s: float | None = None
    """How far this machine's clock is ahead of the coordinator's; None: not known."""


async def look(addresses: Sequence[Address], membership: Membership) -> tuple[Check, ...]:
    """Try everything at once; takes no longer than `PATIENCE_S` and a little."""
    udp, tcp = await asyncio.gather(
        asyncio.gather(*(_udp(address, membership) for address in addresses)),
        asyncio.gather(*(_tcp(address, membership) for address in addresses)),
    )
    return judge(tuple(udp), tuple(tcp))


def judge(udp: tuple[UdpSeen, ...], tcp: tuple[TcpSeen, ...]) -> tuple[Check, ...]:
    """What it all means, and what to do about it."""
    https = next((seen for seen in tcp if seen.answered), tcp[0])
    checks = [_judge_udp(udp, https), Check("TCP (HTTPS)", https.answered, _tcp_words(udp, https))]
    ahead = next((seen.ahead_s for seen in tcp if seen.ahead_s is not None), None)
    if ahead is not None:
        words = f"{abs(ahead):.0f} s {'ahead of' if ahead >= 0 else 'behind'} the coordinator's"
        right = abs(ahead) <= _CLOCK_TOLERANCE_S
        checks.append(Check("clock", right, words if right else f"{words}; let this machine set its clock by itself"))
    return tuple(checks)


def _judge_udp(udp: tuple[UdpSeen, ...], https: TcpSeen) -> Check:
    name = "UDP (QUIC)"
    proved = next((seen for seen in udp if seen.proved), None)
    if proved is not None:
        return Check(name, True, f"{proved.address} answers, and is the pinned coordinator")
    stranger = next((seen for seen in udp if seen.stranger), None)
    if stranger is not None:
        return Check(name, False, f"{stranger.address}: {stranger.stranger}")
    half = next((seen for seen in udp if seen.speaks_quic), None)
    if half is not None:
        words = f"{half.address} speaks QUIC, but no connection comes about: {half.failure}"
        return Check(name, False, f"{words}; something between here and there loses large or later packets (MTU, VPN)")
    where = " or ".join(str(seen.address) for seen in udp)
    if https.answered:
        ports = ", ".join(sorted({str(seen.address.port) for seen in udp}))
        return Check(
            name,
            False,
            f"no answer from {where}, though TCP is answered there: UDP is blocked on the way. Allow outgoing UDP to"
            f" port {ports} in this machine's and network's firewall, and incoming at the coordinator's",
        )
    return Check(name, False, f"no answer from {where}: {udp[0].failure}")


def _tcp_words(udp: tuple[UdpSeen, ...], https: TcpSeen) -> str:
    if https.answered:
        return f"{https.url} answers {https.words}"
    words = f"{https.url}: {https.words}"
    if any(seen.proved for seen in udp):
        return f"{words}; UDP is answered there: allow outgoing TCP to the same port (models come over it)"
    return f"{words}; is the coordinator running, and is this its address? (coordinator.host, coordinator.port)"


async def _udp(address: Address, membership: Membership) -> UdpSeen:
    proof = KeyProof(membership.worker_id, create_worker_key())
    negotiating = asyncio.create_task(_speaks_quic(address))
    try:
        async with asyncio.timeout(PATIENCE_S):
            connection = await dial(address, membership.pin, proof, lambda _event: None)
    except IdentityError as error:
        return UdpSeen(address, stranger=str(error))
    except (GoGridError, TimeoutError) as error:
        failure = str(error).removeprefix(f"{address}: ") or f"nothing within {PATIENCE_S:.0f} s"
        return UdpSeen(address, speaks_quic=await negotiating, failure=failure)
    finally:
        negotiating.cancel()
    connection.close(CloseCode.NORMAL, "doctor")
    await connection.dispose()
    return UdpSeen(address, proved=True)


async def _speaks_quic(address: Address) -> bool:
    """Whether a datagram of an unknown version is answered as QUIC's own rules want it: with those that are spoken."""
    answered = asyncio.get_running_loop().create_future()
    hello = b"\xc0" + _UNSPOKEN_VERSION + b"\x08" + os.urandom(8) + b"\x08" + os.urandom(8)

    class Once(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            if not answered.done() and len(data) > 7 and data[0] & 0x80 and data[1:5] == bytes(4):
                answered.set_result(True)

        def error_received(self, exc: Exception) -> None:
            if not answered.done():
                answered.set_result(False)

    try:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            Once, remote_addr=(address.host, address.port)
        )
    except OSError:
        return False
    try:
        transport.sendto(hello.ljust(_SMALLEST_DATAGRAM, b"\0"))
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                return bool(await answered)
        return False
    finally:
        transport.close()


async def _tcp(address: Address, membership: Membership) -> TcpSeen:
    import httpx

    host = f"[{address.host}]" if ":" in address.host else address.host
    url = f"https://{host}:{membership.https_port}/healthz"
    trust = client_context(membership.identity_pem)

    def get(_stop: object) -> tuple[httpx.Response, float]:
        response = httpx.get(url, verify=trust, timeout=PATIENCE_S, trust_env=False)
        return response, time.time()

    try:
        async with asyncio.timeout(PATIENCE_S):
            response, here = await in_thread(get, "https check")
    except (httpx.HTTPError, TimeoutError) as error:
        return TcpSeen(url, False, str(error) or f"nothing within {PATIENCE_S:.0f} s")
    there = response.headers.get("date", "")
    return TcpSeen(url, True, str(response.status_code), _ahead(there, here))


def _ahead(date: str, here: float) -> float | None:
    with suppress(ValueError):
        return here - parsedate_to_datetime(date).timestamp()
    return None
