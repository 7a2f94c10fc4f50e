"""The app's side of the window: starts its process when it is asked for, and brings the open one to the front."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from tray.app.children import end_child, last_complaint, start_child, tell
from tray.instance_messages import ShowWindow


def has_desktop(environment: Mapping[str, str], platform: str) -> bool:
    """Whether a window could be shown in this session."""
    return platform != "linux" or bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


class AppWindow:
    def __init__(self, command: Sequence[str], say: Callable[[str], None]) -> None:
        """
        Args:
            command: gets `--page PAGE` added.
            say: writes a sentence into the log.
        """
        self._command, self._say = tuple(command), say
        self._process: asyncio.subprocess.Process | None = None
        self._watching: set[asyncio.Task[None]] = set()
        self._opening = asyncio.Lock()

    async def show(self, question: ShowWindow) -> None:
        """Raises OSError if it cannot be started."""
        async with self._opening:
            if self._process is not None and tell(self._process, question):
                return
            self._process = await start_child((*self._command, "--page", question.page), heard=False)
            watching = asyncio.create_task(self._watch(self._process))
            self._watching.add(watching)
            watching.add_done_callback(self._watching.discard)

    async def close(self) -> None:
        if self._process is not None:
            await end_child(self._process)
        await asyncio.gather(*self._watching)

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        complaint = await last_complaint(process)
        if await process.wait() != 0:
            self._say(f"the window ended: {complaint or process.returncode}")
