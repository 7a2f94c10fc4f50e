"""Keeps one runner running: starts it, writes its log to rotating files, starts it again after a crash.

Promises: `stop` lets the runner finish cleanly, then forces it; when this process is gone, however it went, the runner
is too (it holds the other end of our pipe and, on Linux, a parent-death signal). A runner that does not answer any more
is ended and started again like one that crashed. A runner that has joined no coordinator, or that was given up, is
waited for without starting it: until `start`. So is one that is held, for as long as it may be.
"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tray.supervision.liveness import Liveness, LivenessRules
from tray.supervision.restart import Life, Phase, RestartRules, Restarts
from tray.supervision.rotating_log import RotatingLog
from tray.supervision.windows_job import NO_CONSOLE, hold_child

_GRACE_S = 15.0
_GRACE_OF_THE_HUNG_S = 3.0
_LONGEST_LINE = 1 << 16
_END_CLEANLY = b"q"


class Supervisor:
    def __init__(
        self,
        command: Sequence[str],
        logs: Path,
        rules: RestartRules | None = None,
        *,
        stays: bool = False,
        changed: Callable[[], None] = lambda: None,
        answers: Callable[[], Awaitable[bool]] | None = None,
        liveness: LivenessRules | None = None,
    ) -> None:
        """
        Args:
            command: gets `--supervised-by PID` added.
            stays: a runner that was given up is waited for like one that has joined nobody, because somebody sees why.
            changed: called whenever `life` has.
            answers: asks the runner something small, within seconds; None: nobody looks whether it hangs.
        """
        self._command = (*command, "--supervised-by", str(os.getpid()))
        self._restarts = Restarts(rules or RestartRules())
        self._stays, self._changed = stays, changed
        self._log = RotatingLog(logs, "worker")
        self._answers, self._liveness = answers, liveness or LivenessRules()
        self._order = asyncio.Event()
        self._stopping = self._anew = self._hung = False
        self._hold_s = 0.0
        """How long to start none; 0: nobody wants that."""
        self._at_rest = asyncio.Event()
        """No runner runs, because it is held or everything has ended."""
        self._last_line = ""
        self.life = Life(Phase.RUNS)

    def stop(self) -> None:
        self._stopping = True
        self._order.set()

    def start(self, *, anew: bool = False) -> None:
        """Start the runner if none runs; with `anew` also end one that does, first."""
        if self.life.phase is not Phase.RUNS or anew:
            self._anew = True
            self._order.set()

    async def hold(self, longest_s: float) -> None:
        """End the runner cleanly and start none until `start`, or for so long; returns when none runs."""
        if self.life.phase in (Phase.NOT_JOINED, Phase.GIVEN_UP):
            return
        self._hold_s = longest_s
        self._at_rest.clear()
        self._order.set()
        await self._at_rest.wait()

    async def run(self) -> int:
        """Until it was stopped or the runner ended for good; the exit code for this program."""
        try:
            while not self._must_end():
                if self._hold_s:
                    await self._rest()
                    continue
                self._become(Life(Phase.RUNS))
                started = time.monotonic()
                status = await self._run_once()
                if self._must_end():
                    break
                if self._anew or self._hold_s:
                    self._forgive()
                    continue
                ran_for_s = time.monotonic() - started
                hung, self._hung = self._hung, False
                life = (
                    self._restarts.hung(ran_for_s) if hung else self._restarts.ended(status, ran_for_s, self._last_line)
                )
                self._log.say("supervisor", life.reason)
                if life.phase is Phase.GIVEN_UP and not self._stays:
                    return life.exit_code
                self._become(life)
                await self._wait(life.delay_s if life.phase is Phase.WAITS else None)
            return 0
        finally:
            self._at_rest.set()
            self._log.close()

    async def _rest(self) -> None:
        longest_s, self._hold_s = self._hold_s, 0.0
        self._become(Life(Phase.HELD, "the worker waits while it is joined to a coordinator"))
        self._at_rest.set()
        await self._wait(longest_s)

    def _must_end(self) -> bool:
        return self._stopping

    def _become(self, life: Life) -> None:
        self.life = life
        self._changed()

    def _forgive(self) -> None:
        self._anew = False
        self._restarts.forgive()
        self._order.clear()

    async def _wait(self, longest_s: float | None) -> None:
        """For an order, or for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self._order.wait()
            if not self._must_end():
                self._forgive()

    async def _run_once(self) -> int:
        """One life of the runner; its exit status, negative for a signal."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=_LONGEST_LINE,
            creationflags=NO_CONSOLE if sys.platform == "win32" else 0,
        )
        if problem := hold_child(process.pid):
            self._log.say("supervisor", f"the worker may outlive this program if that is killed: {problem}")
        reading = asyncio.create_task(self._copy_log(process))
        ordered = asyncio.create_task(self._order.wait())
        waiting = asyncio.create_task(process.wait())
        silent = asyncio.create_task(self._until_hung())
        try:
            await asyncio.wait((ordered, waiting, silent), return_when=asyncio.FIRST_COMPLETED)
            self._hung = silent.done() and not ordered.done() and not waiting.done()
            if self._hung:
                self._log.say("supervisor", "the worker does not answer any more; ending it")
            if not waiting.done():
                _ask_to_end(process)
                await asyncio.wait((waiting,), timeout=_GRACE_OF_THE_HUNG_S if self._hung else _GRACE_S)
            if not waiting.done():
                self._log.say("supervisor", "the worker did not end in time; killing it")
                process.kill()
            status = await waiting
            await asyncio.wait((reading,), timeout=1.0)
            return status
        finally:
            ordered.cancel()
            silent.cancel()
            reading.cancel()

    async def _until_hung(self) -> None:
        """For as long as the runner answers, or nobody can look."""
        alive = Liveness(self._liveness, time.monotonic())
        while True:
            await asyncio.sleep(self._liveness.every_s)
            if self._answers is not None and alive.looked(time.monotonic(), answered=await self._answers()):
                return

    async def _copy_log(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None  # noqa: S101  # it was asked for as a pipe
        self._last_line = ""
        while True:
            try:
                line = await process.stderr.readline()
            except ValueError:
                continue  # longer than any line of ours: dropped by the reader, which goes on behind it
            if not line:
                return
            self._last_line = line.decode("utf-8", errors="replace").rstrip("\r\n")
            self._log.line(self._last_line)


def _ask_to_end(process: asyncio.subprocess.Process) -> None:
    """By the signal that also others send; Windows has none, so there by the pipe."""
    if sys.platform == "win32":
        assert process.stdin is not None  # noqa: S101  # it was asked for as a pipe
        process.stdin.write(_END_CLEANLY)
    else:
        process.terminate()
