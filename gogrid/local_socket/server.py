"""The listening side: one connection at a time; it sends questions, a line each, and gets their answers in order."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from gogrid.local_socket.errors import LocalSocketError, NotAQuestionError

if sys.platform == "win32":
    from gogrid.local_socket.windows import Listener, listen, why_refused
else:
    from gogrid.local_socket.unix import Listener, listen, why_refused

Respond = Callable[[bytes], Awaitable[bytes]]
"""From one line to one line, both with their newline; raises `NotAQuestionError`."""


class LineServer:
    def __init__(self, path: Path, respond: Respond, *, refusal: Callable[[str], bytes], max_line: int) -> None:
        """Args: `refusal` writes a sentence as a line; `max_line` in bytes, a longer one ends the connection."""
        self._path, self._respond, self._refusal, self._max_line = path, respond, refusal, max_line
        self._listener: Listener | None = None
        self._talks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen. Call when no other program of this user may listen here: what lies there is taken for nobody's.

        Raises:
            LocalSocketError: the folder belongs to somebody else, or it cannot be listened there.
        """
        try:
            self._listener = await listen(self._path, self._accept, self._max_line)
        except OSError as error:
            raise LocalSocketError(
                f"The control socket {self._path} cannot be opened: {error.strerror or error}."
            ) from error

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)
        await asyncio.sleep(0)  # connections that were closed a moment ago are gone after one turn of the loop

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.create_task(self._serve(reader, writer))
        self._talks.add(talk)
        talk.add_done_callback(self._talks.discard)
        talk.add_done_callback(lambda _: writer.close())  # even if it is cancelled before it begins

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if (reason := why_refused(writer)) is not None:
                writer.write(self._refusal(reason))
                return
            while line := await reader.readline():
                try:
                    answer = await self._respond(line)
                except NotAQuestionError as error:
                    writer.write(self._refusal(str(error)))
                    return
                writer.write(answer)
                await writer.drain()
        except (ValueError, ConnectionError):
            pass  # a line without end, or nobody there any more: the connection closes, which says it all
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
