"""The runner's link to its coordinator: dials, reconnects for ever, and tells the work what it is asked to do.

Promises: addresses are tried in order; a lost link comes back with jittered back-off, and at once when this machine has
slept or moved to another network; what no retry can mend (another identity, a revoked or cloned key, a version) ends
`run` with one sentence. A dead link swallows what is sent.
"""

import asyncio
import logging
import math
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gogrid.addresses import Address
from gogrid.errors import CloseCode, IdentityError
from gogrid.ids import JobId, WorkerId
from gogrid.jointoken import JoinToken
from gogrid.protocol.messages import Assign, Cancel, Drain, Refuse, Settled, Welcome
from gogrid.protocol.session import HANDSHAKE_S, Ended
from gogrid.protocol.worker_report import WorkerReport
from gogrid.protocol.worker_session import (
    HeartbeatDue,
    KeyProof,
    LeasesLost,
    Renewed,
    TokenProof,
    WorkerEvent,
    framed_fitting,
)
from runner.errors import LinkError, TokenRefusedError
from runner.link.backoff import Backoff
from runner.link.connection import Connection, dial
from runner.link.senses import clock_through_sleep, source_address
from runner.link.surroundings import Advice, Surroundings
from runner.session import JobStream, SessionHandler

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""How often this machine's clock and address are looked at."""
SOON_AFTER_DOUBT_S = 5.0
AT_ONCE_S = 0.25
"""The longest wait after the machine slept or moved: many may do so in the same moment."""
PENDING_S = 15.0
"""How often a worker asks whether it was approved, or whether its own coordinator is back where another one answers:
whoever has that address for a while has proved nothing, so a worker does not end because of it."""
_FOR_GOOD = {
    CloseCode.REVOKED: "The coordinator's admin has revoked this worker; join again with a new token.",
    CloseCode.AUTH_FAILED: "The coordinator does not know this worker or its key; join again with a new token.",
    CloseCode.FENCED: (
        "This worker's key was used from another place, so this session was ended. If its disk was copied, "
        "join again with a new token on one of the two machines."
    ),
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """What joining left on this machine."""

    worker_id: WorkerId
    key: Ed25519PrivateKey
    pin: bytes
    """Of the coordinator's identity, 32 bytes."""


@dataclass(frozen=True, slots=True)
class Joined:
    worker_id: WorkerId
    worker_name: str
    identity_pem: bytes
    """The coordinator's identity certificate, for HTTPS."""
    address: Address
    """The one of the token's addresses that answered."""
    https_port: int
    pending: bool
    """The coordinator's admin has yet to approve this worker."""


class Dial(Protocol):
    """See `runner.link.connection.dial`."""

    async def __call__(
        self, address: Address, pin: bytes, proof: KeyProof | TokenProof, on_event: Callable[[WorkerEvent], None]
    ) -> Connection: ...


class CoordinatorLink:
    def __init__(
        self, addresses: Sequence[Address], credentials: Credentials, handler: SessionHandler, dial: Dial = dial
    ) -> None:
        self._addresses = tuple(addresses)
        self._dial = dial
        self._credentials = credentials
        self._handler = handler
        self._connection: Connection | None = None
        self._report: WorkerReport | None = None
        self._reported: WorkerReport | None = None
        self._welcome: Welcome | None = None
        self._opened_at = 0.0
        self._address: Address | None = None
        self._status = "not started"
        self._surroundings = Surroundings()
        self._peer: Any = None
        self._doubted_at = -math.inf
        self._dial_now = asyncio.Event()

    @property
    def status(self) -> str:
        """In words: `connected to …`, or why not."""
        return self._status

    @property
    def welcome(self) -> Welcome | None:
        """The open session's terms; None while there is none."""
        return self._welcome

    @property
    def address(self) -> Address | None:
        """Where the coordinator answered last."""
        return self._address

    def report(self, report: WorkerReport) -> None:
        """Tell what this worker can do, now and after every reconnect. Raises `ProtocolError` for one too long."""
        framed_fitting(report)
        self._report = report
        if self._welcome is not None and self._connection is not None:
            self._reported = report
            self._connection.report(report)

    def refuse(self, job_id: JobId, epoch: int, reason: str) -> None:
        """Give an assigned job back."""
        if self._connection is not None:
            self._connection.refuse(Refuse(job_id=job_id, epoch=epoch, reason=reason[:500]))

    def job_stream(self, job_id: JobId, epoch: int) -> JobStream | None:
        """A stream for a lease of an earlier session; None while there is no connection."""
        return self._connection.job_stream(job_id, epoch) if self._connection is not None else None

    async def run(self) -> None:
        """Stay connected until cancelled.

        Raises:
            LinkError: no retry can help; says what to do.
        """
        looking = asyncio.create_task(self._look_around(), name="surroundings")
        try:
            await self._stay_connected()
        finally:
            looking.cancel()

    async def _stay_connected(self) -> NoReturn:
        backoff = Backoff(_jitter)
        loop = asyncio.get_running_loop()
        while True:
            self._opened_at = 0.0
            self._dial_now.clear()
            ended = await self._session()
            if ended.code in _FOR_GOOD:
                raise LinkError(_FOR_GOOD[ended.code])
            if ended.code is CloseCode.VERSION:
                raise LinkError(ended.reason)
            delay = backoff.next_delay(loop.time() - self._opened_at if self._opened_at else 0.0)
            if ended.code in (CloseCode.PENDING, CloseCode.PIN_MISMATCH):
                delay += PENDING_S
            elif loop.time() - self._doubted_at < SOON_AFTER_DOUBT_S:
                delay = AT_ONCE_S * _jitter()
            self._status = f"not connected: {ended.reason} Trying again in {delay:.0f} s."
            log.info("%s", self._status)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._dial_now.wait()

    async def _look_around(self) -> NoReturn:
        """Notice what the connection cannot: that the machine slept, or has another address."""
        while True:
            advice, why = self._surroundings.look(clock_through_sleep(), source_address(self._peer), LOOK_S)
            if advice is not Advice.NOTHING:
                log.info("%s", why)
                self._doubted_at = asyncio.get_running_loop().time()
                self._dial_now.set()
            if advice is Advice.ASK and self._connection is not None:
                self._connection.doubt()
            elif advice is Advice.REDIAL and self._connection is not None:
                self._connection.close(CloseCode.NORMAL, f"The worker connects anew: {why}.")
            await asyncio.sleep(LOOK_S)

    async def _session(self) -> Ended:
        """Dial, and stay until the session ends."""
        proof = KeyProof(self._credentials.worker_id, self._credentials.key)
        self._status = "connecting"
        try:
            connection, self._address = await _dial_first(
                self._addresses, self._credentials.pin, proof, self._on_event, self._dial
            )
        except IdentityError as error:
            return Ended(CloseCode.PIN_MISMATCH, str(error))
        except LinkError as error:
            return Ended(CloseCode.TIMEOUT, str(error))
        self._connection, self._peer = connection, connection.peer
        connection.open()
        try:
            return await asyncio.shield(connection.ended)
        finally:
            if not connection.ended.done():
                connection.close(CloseCode.SHUTDOWN, "The worker is stopping.")
            await connection.dispose()
            self._connection = None

    def _on_event(self, event: WorkerEvent) -> None:
        handler = self._handler
        match event:
            case Assign():
                if self._connection is not None:
                    handler.assigned(event, self._connection.job_stream(event.job_id, event.epoch))
            case Cancel():
                handler.cancelled(event)
            case Drain():
                handler.drain(event)
            case HeartbeatDue():
                if self._connection is not None:
                    self._connection.heartbeat(handler.held())
            case LeasesLost():
                handler.lost(event.leases)
            case Settled():
                handler.settled(event.leases)
            case Renewed():
                handler.renewed(event.sent_at)
            case Welcome():
                self._on_welcome(event)
            case Ended():
                if self._welcome is not None:
                    self._welcome = None
                    handler.disconnected(event.reason)

    def _on_welcome(self, welcome: Welcome) -> None:
        self._welcome = welcome
        self._opened_at = asyncio.get_running_loop().time()
        self._reported = None
        self._status = f"connected to {self._address} as {welcome.worker_name}"
        log.info("%s, session %d", self._status, welcome.session_epoch)
        self._handler.welcomed(welcome)
        if self._connection is not None:
            self._connection.heartbeat(self._handler.held())  # before the report: nothing is placed here until then
        if self._report is not None and self._reported is not self._report:
            self.report(self._report)


def _jitter() -> float:
    return secrets.randbelow(1 << 20) / (1 << 20)


async def join(token: JoinToken, key: Ed25519PrivateKey, hostname: str) -> Joined:
    """Redeem a token for this machine's new key, at the first of the token's addresses that answers.

    May be repeated with the same key if its answer was lost.

    Raises:
        IdentityError: the coordinator there is not the one that made the token; it was sent nothing.
        LinkError: no coordinator can be reached; says why. `TokenRefusedError`: it refuses the token.
    """
    welcomes: list[Welcome] = []

    def on_event(event: WorkerEvent) -> None:
        if isinstance(event, Welcome):
            welcomes.append(event)

    proof = TokenProof(token.token_id, token.key(), key, hostname[:253])
    connection, address = await _dial_first(token.addresses, token.pin, proof, on_event)
    connection.open()
    try:
        async with asyncio.timeout(2 * HANDSHAKE_S):
            ended = await asyncio.shield(connection.ended)
    except TimeoutError:
        ended = Ended(CloseCode.TIMEOUT, "The coordinator did not answer the request to join.")
    finally:
        identity_pem = connection.identity_pem
        await connection.dispose()
    if ended.code is CloseCode.TOKEN_REFUSED:
        raise TokenRefusedError(ended.reason)
    if not welcomes:
        raise LinkError(ended.reason)
    return Joined(
        worker_id=welcomes[0].worker_id,
        worker_name=welcomes[0].worker_name,
        identity_pem=identity_pem,
        address=address,
        https_port=welcomes[0].https_port,
        pending=token.needs_approval or ended.code is CloseCode.PENDING,
    )


async def _dial_first(
    addresses: Sequence[Address],
    pin: bytes,
    proof: KeyProof | TokenProof,
    on_event: Callable[[WorkerEvent], None],
    dial: Dial = dial,
) -> tuple[Connection, Address]:
    """The first address where the pinned coordinator answers.

    Raises:
        IdentityError: every address answered with another identity.
        LinkError: none answered, or some with another identity.
    """
    failures: list[IdentityError | LinkError] = []
    for address in addresses:
        try:
            return await dial(address, pin, proof, on_event), address
        except (IdentityError, LinkError) as error:
            failures.append(error)
    if failures and all(isinstance(failure, IdentityError) for failure in failures):
        raise failures[0]
    raise LinkError("No coordinator can be reached at " + "; ".join(str(failure) for failure in failures) + ".")
