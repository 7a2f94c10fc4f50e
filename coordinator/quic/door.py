"""Who is let in: asks the directory what a session may not decide by itself, and answers whatever happens.

Whoever offers a token that is not known, or not proved, is refused only after one more look at the store: it may have
been made a moment ago. Meanwhile the connection stays a stranger's, with a stranger's limits.
"""

import logging
from collections.abc import Callable
from typing import Protocol

from coordinator.errors import TokenRefusedError
from coordinator.links import Directory, WorkerLink
from coordinator.quic.admission import refusal_of
from coordinator.records import WorkerRecord, WorkerStatus
from gogrid.errors import CloseCode, GoGridError
from gogrid.ids import WorkerId
from gogrid.protocol.coordinator_session import CoordinatorEvent, CoordinatorSession
from gogrid.protocol.entrance import Authenticated, JoinDoubted, JoinProved
from gogrid.protocol.messages import Welcome
from gogrid.protocol.session import Phase

log = logging.getLogger(__name__)


class Guest(Protocol):
    """The connection that stands before the door."""

    @property
    def remote(self) -> str: ...

    def let_in(self, record: WorkerRecord, epoch: int) -> None: ...

    def welcome(self, record: WorkerRecord) -> Welcome: ...

    def take(self, events: list[CoordinatorEvent]) -> None:
        """What the answer has brought about."""


class Door:
    def __init__(self, directory: Directory, current: Callable[[WorkerId], WorkerLink | None]) -> None:
        """`current`: the worker's open link."""
        self._directory = directory
        self._current = current

    async def decide(
        self, guest: Guest, session: CoordinatorSession, event: Authenticated | JoinProved | JoinDoubted
    ) -> None:
        try:
            match event:
                case Authenticated():
                    await self._open(guest, session, event.worker_id)
                case JoinProved():
                    await self._join(guest, session, event)
                case JoinDoubted():
                    await self._look_again(guest, session)
        except TokenRefusedError as error:
            guest.take(session.reject(CloseCode.TOKEN_REFUSED, str(error)))
        except GoGridError as error:
            log.error("no session for %s: %s", guest.remote, error)
        finally:
            refused: list[CoordinatorEvent] = []
            if session.phase is Phase.DECISION:
                busy = "The coordinator cannot look this worker up now; it will try again."
                refused = session.reject(CloseCode.TOO_BUSY, busy)
            guest.take(refused)

    async def _open(self, guest: Guest, session: CoordinatorSession, worker_id: WorkerId) -> None:
        directory = self._directory
        refusal = refusal_of(directory.worker(worker_id))
        if refusal is None:
            epoch = await directory.open_session(worker_id)
            refusal = refusal_of(directory.worker(worker_id))
        if session.phase is not Phase.DECISION:
            return
        if refusal is not None:
            guest.take(session.reject(refusal.code, refusal.message))
            return
        older = self._current(worker_id)
        if older is not None and older.session_epoch > epoch:
            guest.take(session.reject(CloseCode.FENCED, "A newer session of this worker is open."))
            return
        if older is not None:
            older.close(CloseCode.FENCED, "A newer session of this worker was opened.")
        record = directory.worker(worker_id)
        if record is not None:
            guest.let_in(record, epoch)

    async def _join(self, guest: Guest, session: CoordinatorSession, join: JoinProved) -> None:
        record = await self._directory.redeem(join.token_id, join.worker_key, join.hostname)
        if session.phase is Phase.DECISION:
            log.info("%s joined as %s with token %s", guest.remote, record.id, join.token_id)
            guest.take(session.joined(guest.welcome(record), pending=record.status is WorkerStatus.PENDING))

    async def _look_again(self, guest: Guest, session: CoordinatorSession) -> None:
        await self._directory.look_again()
        for event in session.judge_again():
            if isinstance(event, JoinProved):
                await self._join(guest, session, event)
            else:
                guest.take([event])
