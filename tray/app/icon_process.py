"""The app's side of the icon: starts its process, feeds it, hears it, and does without it.

Promises: an icon that crashes takes nothing with it and comes back, however often; where none could ever be shown that
is said once, looked for again a few times (at login a panel may come up after us), and then let be.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum

import msgspec

from tray.app.children import end_child, last_complaint, start_child, tell
from tray.icon.messages import FromIcon, Note, NoTray, Show, Shown, decode_from_icon

RETRY_S = (4.0, 12.0, 40.0)


class _Life(Enum):
    """What became of one process of the icon."""

    UNSEEN = "unseen"
    """It was never shown."""
    SHORT = "short"
    LONG = "long"
    """It was shown for so long that losing it was an accident."""


class AppIcon:
    def __init__(
        self,
        command: Sequence[str],
        heard: Callable[[FromIcon], None],
        say: Callable[[str], None],
        retry_s: Sequence[float] = RETRY_S,
    ) -> None:
        """
        Args:
            heard: gets what the icon says, within the event loop.
            say: writes a sentence into the log.
            retry_s: how long to wait before each further try.
        """
        self._command, self._heard, self._say, self._retry_s = tuple(command), heard, say, retry_s
        self._process: asyncio.subprocess.Process | None = None
        self._show: Show | None = None
        self._again = asyncio.Event()
        self._told = False
        self.shown = False
        """It can be seen now."""

    def show(self, show: Show) -> None:
        """From now on, also by the next icon's process."""
        if show != self._show:
            self._show = show
            if self._process is not None:
                tell(self._process, show)

    def note(self, note: Note) -> None:
        if self.shown and self._process is not None:
            tell(self._process, note)

    def try_again(self) -> None:
        """Its owner looks for it."""
        self._again.set()

    async def keep(self) -> None:
        """Until cancelled."""
        tries, ever_shown = 0, False
        while True:
            life = await self._live()
            ever_shown = ever_shown or life is not _Life.UNSEEN
            if life is _Life.LONG:
                tries = 0
            last = self._retry_s[-1] if ever_shown else None
            delay = self._retry_s[tries] if tries < len(self._retry_s) else last
            tries += 1
            self._again.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._again.wait()
                tries = 0

    async def _live(self) -> "_Life":
        """One life of the process."""
        try:
            self._process = process = await start_child(self._command, heard=True)
        except OSError as error:
            self._tell(f"the tray icon cannot be started: {error.strerror or error}")
            return _Life.UNSEEN
        complaints = asyncio.create_task(last_complaint(process))
        began = asyncio.get_running_loop().time()
        try:
            if self._show is not None:
                tell(process, self._show)
            await self._listen(process)
            await process.wait()
            if self.shown:
                self._say(f"the tray icon is gone ({await complaints or process.returncode}); the worker goes on")
            elif process.returncode:
                self._tell(f"no tray icon: {await complaints or process.returncode}")
            if not self.shown:
                return _Life.UNSEEN
            lasted_s = asyncio.get_running_loop().time() - began
            return _Life.LONG if lasted_s > max(self._retry_s) else _Life.SHORT
        finally:
            self.shown = False
            self._process = None
            await end_child(process)
            complaints.cancel()

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101  # it was asked for as a pipe
        while line := await process.stdout.readline():
            try:
                message = decode_from_icon(line)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue  # something that a library of the desktop printed
            if isinstance(message, Shown):
                self.shown, self._told = True, False
                self._say(f"the tray icon is shown by {message.by}")
            elif isinstance(message, NoTray):
                self._tell(f"no tray icon: {message.reason} The worker goes on without; use gogrid-worker status.")
            self._heard(message)

    def _tell(self, sentence: str) -> None:
        """Once, until an icon has been shown."""
        if not self._told:
            self._told = True
            self._say(sentence)
