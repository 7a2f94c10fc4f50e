"""uvicorn's HTTP/1.1 protocol with the guards it lacks: how big and how slow a request's head may be.

A head must be complete within `HEAD_S` and `HEAD_BYTES`, and a connection that never asks anything is closed after the
same time. Bodies are guarded where they are read (`asgi.body_chunks`).
"""

import asyncio
from asyncio.events import TimerHandle
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

HEAD_BYTES = 16 << 10
HEAD_S = 10.0


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._head_bytes = 0
        self._in_head = True
        """A head is waited for, or has come in part."""
        self._head_timer: TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_head = False
        self._watch_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_in_head = self._in_head
        super().data_received(data)
        if was_in_head and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse("Request header fields too large.")
        self._watch_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._header_bytes = 0
        if not self._in_head:
            self._in_head, self._head_bytes = True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > HEAD_BYTES:
            raise ValueError("request header fields too large")  # httptools turns it into a 400 and a closed connection
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._watch_head()
        super().on_headers_complete()

    def _watch_head(self) -> None:
        """Most heads come in one piece, and need no timer."""
        if self._in_head and self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_S, self._too_slow)
        elif not self._in_head and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        self.transport.close()

    def _refuse(self, message: str) -> None:
        self._in_head = False
        if not self.transport.is_closing():
            self.send_400_response(message)
