"""The worker for Windows' Start menu and for login: no console, so what would be said there last is shown in a box.

A copy that another one started has somebody who reads its exit status; a box would only keep it from ending.
"""

import contextlib
import ctypes
import io
import os
import sys

from tray.cli import main
from updates.client.boot import STARTED_BY

OURS = "gogrid-worker: "
ICON_ERROR = 0x10


class LastComplaint(io.TextIOBase):
    """Keeps the last line of ours, and nothing else of what is written for days."""

    def __init__(self) -> None:
        self.sentence = ""
        self._rest = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        self._rest = self._rest[-2000:]
        for line in lines:
            if line.startswith(OURS):
                self.sentence = line.removeprefix(OURS)
        return len(text)


handed_over = STARTED_BY in os.environ
said = LastComplaint()
with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
    try:
        status = main()
    except SystemExit as end:
        status = end.code
if status and said.sentence and not handed_over:
    ctypes.windll.user32.MessageBoxW(None, said.sentence, "GoGrid Worker", ICON_ERROR)
sys.exit(status)
