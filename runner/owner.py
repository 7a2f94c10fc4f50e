"""The machine's owner comes first: looks at the gates and keeps the pause, and tells `work.py` what holds.

Promises: while the worker has anything to give back, its owner's input is looked for five times a second, else and
where it cannot be seen less often (`gates/pace.py`); no look holds up the event loop; changed settings count from the
next look; a pause is on disk before it is confirmed, or its answer says that it is not; it survives the process and
ends when it said it would.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime

from runner.control_messages import Done, Refused
from runner.errors import RunnerError
from runner.gates.gates import Gates
from runner.gates.observation import MachineSeen, OwnerSeen
from runner.gates.pace import Pace, pace
from runner.gates.probes.base import NoAnswerError
from runner.gates.probes.eyes import Eyes
from runner.gates.settings import GateSettings
from runner.holds import OwnerPause
from runner.pause_file import PauseFile
from runner.threads import in_thread
from runner.work import Work

log = logging.getLogger(__name__)
_FIRST_LOOK_S = 1.0
"""The worker does not wait longer for it before it says that it is ready."""


class Owner:
    """Use from one event loop."""

    def __init__(
        self,
        work: Work,
        pauses: PauseFile,
        eyes: Eyes,
        settings: Callable[[], GateSettings],
        busy: Callable[[], bool],
    ) -> None:
        """`busy`: whether something runs, is in memory or is on its way."""
        self._work, self._pauses, self._eyes, self._settings, self._busy = work, pauses, eyes, settings, busy
        self._gates = Gates()
        self._owner: OwnerSeen | None = None
        self._machine = MachineSeen()
        self._trouble = ""
        """What went wrong last: it is told once."""
        self._asked = 0
        """How often somebody wanted a look at once."""
        self._unhurried = False
        self._hurry = asyncio.Event()
        """Set when a look has to come earlier than it was planned."""

    @property
    def unseen(self) -> tuple[str, ...]:
        """What cannot be looked at on this machine, each in words."""
        return self._eyes.unseen

    async def open(self) -> None:
        """Take up the pause that was kept, and look once, so that the first word to the coordinator is true."""
        self._work.hold(self._pauses.load(time.time()), ())
        for look in (self._look_at_owner, self._look_at_machine):
            with suppress(TimeoutError):
                async with asyncio.timeout(_FIRST_LOOK_S):
                    await look()
        self._judge()
        for words in self._eyes.unseen:
            log.info("not looked at here: %s", words)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            await asyncio.gather(
                self._look_on(self._look_at_owner, lambda pace: pace.owner_s if self._owner else pace.machine_s),
                self._look_on(self._look_at_machine, lambda pace: pace.machine_s),
            )
        finally:
            self._eyes.close()

    def noticed(self) -> None:
        """Something may have begun that the owner would want back."""
        if self._unhurried and self._busy():
            self._unhurried = False
            self._hurry.set()

    def look_soon(self) -> None:
        """Settings have changed."""
        self._asked += 1
        self._hurry.set()

    def pause(self, reason: str, *, finish: bool, until: float) -> Done | Refused:
        """It holds from now on, also where it cannot be kept for the next start: then the answer says so.

        Args:
            until: Unix seconds; 0: until `resume`.
        """
        pause = OwnerPause(reason, finish, until)
        if why_not := pause.why_not(time.time()):
            return Refused(reason=why_not)
        return self._keep(pause)

    def resume(self) -> Done | Refused:
        """The pause ends, unless that cannot be kept. Gates that are closed stay so."""
        return self._keep(None)

    def _keep(self, pause: OwnerPause | None) -> Done | Refused:
        note = ""
        try:
            self._pauses.save(pause)
        except RunnerError as error:
            log.error("%s", error)
            if pause is None:
                return Refused(reason=str(error))
            note = f"{error} It holds now, but only until this worker ends."
        self._work.hold(pause, self._work.holds.gates)
        return Done(note=note)

    async def _look_on(self, look: Callable[[], Awaitable[None]], every: Callable[[Pace], float]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            looked, asked = loop.time(), self._asked
            await look()
            self._judge()
            while asked == self._asked and (left := looked + every(self._pace()) - loop.time()) > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._hurry.wait()

    def _pace(self) -> Pace:
        busy = self._busy()
        self._unhurried = not busy
        self._hurry.clear()
        return pace(held=self._work.holds.yielding, busy=busy)

    async def _look_at_owner(self) -> None:
        if not self._settings().pause_on_activity:
            self._owner = None
            return
        try:
            idle_s = await in_thread(lambda _stop: self._eyes.owner(), "owner look")
        except Exception as error:  # noqa: BLE001  # whatever a desktop library does, told by `_failed`
            # What was seen last grows old, and the gates know when it is too old to be trusted.
            self._owner = self._owner or OwnerSeen(time.monotonic(), 0.0)
            self._failed("whether the computer is in use", error)
            return
        self._owner = OwnerSeen(time.monotonic(), idle_s) if idle_s is not None else None

    async def _look_at_machine(self) -> None:
        settings = self._settings()
        try:
            self._machine = await in_thread(lambda _stop: self._eyes.machine(settings), "machine look")
        except Exception as error:  # noqa: BLE001  # whatever a desktop library does, told by `_failed`
            self._failed("how the machine is", error)

    def _failed(self, what: str, error: Exception) -> None:
        """A look ends neither the worker nor the looks to come."""
        if str(error) != self._trouble:
            self._trouble = str(error)
            known = isinstance(error, NoAnswerError)
            log.warning("it cannot be seen %s: %s", what, error, exc_info=None if known else error)

    def _judge(self) -> None:
        closed = self._gates.judge(self._settings(), self._owner, self._machine, time.monotonic(), datetime.now())
        pause = self._work.holds.pause
        if pause is not None and pause.over(time.time()):
            log.info("the pause is over")
            self._keep(None)
        if closed != self._work.holds.gates:
            log.info("gates: %s", "; ".join(closed) or "open")
        self._work.hold(self._work.holds.pause, closed)
