"""Keeps one runner running: starts it, writes its log to rotating files, starts it again after a crash.

Promises: SIGTERM and Ctrl-C let the runner finish cleanly, then force it; when this process is gone, however it went,
the runner is too (it holds the other end of our pipe and, on Linux, a parent-death signal).
"""

import asyncio
import logging
import logging.handlers
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tray.restart import GiveUp, RestartRules, Restarts

_LOG_BYTES = 5 << 20
_LOG_FILES = 5
_GRACE_S = 15.0
_LONGEST_LINE = 1 << 16


class Supervisor:
    def __init__(self, command: Sequence[str], logs: Path, rules: RestartRules | None = None) -> None:
        """`command` gets `--supervised-by PID` added."""
        self._command = (*command, "--supervised-by", str(os.getpid()))
        self._restarts = Restarts(rules or RestartRules())
        self._log = _open_log(logs)
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        """Until the runner ends for good; the exit code for this program."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(NotImplementedError):
                loop.add_signal_handler(number, self._stopping.set)
        try:
            while True:
                started = time.monotonic()
                status = await self._run_once()
                if self._stopping.is_set():
                    return 0
                verdict = self._restarts.ended(status, time.monotonic() - started)
                self._say(verdict.reason)
                if isinstance(verdict, GiveUp):
                    return verdict.exit_code
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), verdict.delay_s)
                    return 0
        finally:
            for handler in self._log.handlers:
                handler.close()

    async def _run_once(self) -> int:
        """One life of the runner; its exit status, negative for a signal."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=_LONGEST_LINE,
        )
        reading = asyncio.create_task(self._copy_log(process))
        stopping = asyncio.create_task(self._stopping.wait())
        waiting = asyncio.create_task(process.wait())
        try:
            await asyncio.wait((stopping, waiting), return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                process.terminate()
                await asyncio.wait((waiting,), timeout=_GRACE_S)
            if not waiting.done():
                self._say("the worker did not end in time; killing it")
                process.kill()
            status = await waiting
            await asyncio.wait((reading,), timeout=1.0)
            return status
        finally:
            stopping.cancel()
            reading.cancel()

    async def _copy_log(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None  # noqa: S101  # it was asked for as a pipe
        while True:
            try:
                line = await process.stderr.readline()
            except ValueError:
                continue  # longer than any line of ours: dropped by the reader, which goes on behind it
            if not line:
                return
            self._log.info("%s", line.decode("utf-8", errors="replace").rstrip("\n"))

    def _say(self, text: str) -> None:
        self._log.info("%s supervisor: %s", time.strftime("%Y-%m-%d %H:%M:%S"), text)


def _open_log(folder: Path) -> logging.Logger:
    """Lines go to the rotating file and to our own standard error."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    logger = logging.Logger("worker-log", logging.INFO)
    file = logging.handlers.RotatingFileHandler(
        folder / "worker.log", maxBytes=_LOG_BYTES, backupCount=_LOG_FILES, encoding="utf-8"
    )
    for handler in (file, logging.StreamHandler(sys.stderr)):
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
    return logger
