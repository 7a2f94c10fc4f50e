"""The app's side of the window: starts its process when it is asked for, and brings the open one to the front.

A window that can be seen says so in one line on its standard output, `SHOWN`; one that cannot says why and ends.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from tray.app.children import end_child, last_complaint, lines_of, start_child, tell
from tray.instance_messages import ShowWindow

SHOWN = "shown"
SHOWS_WITHIN_S = 4.0
"""Less than who asks the app waits for its answer."""


def has_desktop(environment: Mapping[str, str], platform: str) -> bool:
    """Whether a window could be shown in this session."""
    return platform != "linux" or bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


class AppWindow:
    def __init__(
        self, command: Sequence[str], say: Callable[[str], None], shows_within_s: float = SHOWS_WITHIN_S
    ) -> None:
        """
        Args:
            command: gets `--page PAGE` added.
            say: writes a sentence into the log.
            shows_within_s: for so long it is waited whether a new window can be seen.
        """
        self._command, self._say, self._shows_within_s = tuple(command), say, shows_within_s
        self._process: asyncio.subprocess.Process | None = None
        self._watching: set[asyncio.Task[None]] = set()
        self._opening = asyncio.Lock()

    async def show(self, question: ShowWindow) -> str:
        """Why it cannot be seen; empty: it can, or that takes longer. Raises OSError if it cannot be started."""
        async with self._opening:
            if self._process is not None and tell(self._process, question):
                return ""
            self._process = await start_child((*self._command, "--page", question.page), heard=True)
            known: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            watching = asyncio.create_task(self._watch(self._process, known))
            self._watching.add(watching)
            watching.add_done_callback(self._watching.discard)
        await asyncio.wait((known,), timeout=self._shows_within_s)
        return known.result() if known.done() else ""

    async def close(self) -> None:
        if self._process is not None:
            await end_child(self._process)
        await asyncio.gather(*self._watching)

    async def _watch(self, process: asyncio.subprocess.Process, known: asyncio.Future[str]) -> None:
        complaint, _ = await asyncio.gather(last_complaint(process), _hear(process, known))
        why = ""
        if await process.wait() != 0:
            why = complaint or f"it ended with status {process.returncode}"
            self._say(f"the window ended: {why}")
        if not known.done():
            known.set_result(why.removeprefix("gogrid-window: "))


async def _hear(process: asyncio.subprocess.Process, known: asyncio.Future[str]) -> None:
    """Until its output ends, so that it never waits for us."""
    async for line in lines_of(process.stdout):
        if line == SHOWN.encode() and not known.done():
            known.set_result("")
