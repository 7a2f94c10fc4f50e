"""What asks a program to end: SIGTERM, Ctrl-C and the end of its terminal, which `nohup` takes away; on Windows Ctrl-C,
Ctrl-Break and the end of its console."""

import asyncio
import signal
import sys
from collections.abc import Callable
from contextlib import suppress


def on_stop_signal(stop: Callable[[], None]) -> None:
    """Have the running loop, which is the main thread's, call `stop` for each of them."""
    loop = asyncio.get_running_loop()
    if sys.platform == "win32":
        from gogrid.windows.console import on_console_end

        def asked(*_: object) -> None:
            with suppress(RuntimeError):  # the loop has ended already
                loop.call_soon_threadsafe(stop)

        on_console_end(asked)
        for number in (signal.SIGINT, signal.SIGBREAK, signal.SIGTERM):
            signal.signal(number, asked)
    else:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, stop)
