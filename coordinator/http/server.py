"""The HTTP listeners: TLS for everybody, and plain HTTP for this machine only if asked for.

Promises: plain HTTP binds loopback addresses and nothing else; `start` returns once connections are accepted and raises
`ListenError` in one sentence where that is impossible; signals stay with whoever runs the process.
"""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import uvicorn
from litestar.types import ASGIApp

from coordinator.errors import CoordinatorError
from coordinator.http.guarded import GuardedProtocol

_BACKLOG = 1024
_KEEP_ALIVE_S = 60
_DATE_S = 1.0
"""How old the date in an answer's head may be."""


class ListenError(CoordinatorError):
    """An address cannot be listened on."""


@dataclass(frozen=True, slots=True)
class Listen:
    host: str
    port: int
    """0: any free one."""


class HttpServer:
    """Serves one app on a TLS address, a loopback address, or both, in the running event loop."""

    def __init__(
        self, app: ASGIApp, *, tls: Listen | None, context: ssl.SSLContext | None = None, plain: Listen | None = None
    ) -> None:
        """`context` is the server's TLS; a renewed certificate loaded into it serves the next connections."""
        if tls is not None and context is None:
            raise ListenError("HTTPS needs a certificate.")
        if plain is not None and not _is_loopback(plain.host):
            raise ListenError(f"Plain HTTP is for this machine only: listen on 127.0.0.1, not {plain.host}.")
        self._app = app
        self._wanted = [(listen, secure) for listen, secure in ((tls, context), (plain, None)) if listen is not None]
        self._running: list[tuple[_Server, asyncio.Task[None], int]] = []

    @property
    def ports(self) -> tuple[int, ...]:
        """The bound ports, TLS first."""
        return tuple(port for _, _, port in self._running)

    async def start(self) -> None:
        try:
            for listen, context in self._wanted:
                listener = _bind(listen)
                server = _Server(_config(self._app, context))
                task = asyncio.create_task(server.serve(sockets=[listener]))
                self._running.append((server, task, listener.getsockname()[1]))
                await server.accepting.wait()
        except BaseException:
            await self.stop(0)
            raise

    async def wait_ended(self) -> None:
        """Returns when a listener has ended, which it only does on `stop`; raises what broke it."""
        done, _ = await asyncio.wait([task for _, task, _ in self._running], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def stop(self, grace_s: float) -> None:
        """Accept nothing new, let requests end for `grace_s`, then cut them off."""
        for server, _, _ in self._running:
            server.config.timeout_graceful_shutdown = max(1, round(grace_s)) if grace_s else 0
            server.stop()
        await asyncio.gather(*(task for _, task, _ in self._running), return_exceptions=True)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = asyncio.Event()
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        self.should_exit = True
        self._stopped.set()

    async def main_loop(self) -> None:
        """uvicorn looks ten times a second whether to stop; here it is told, and wakes only for the date header."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DATE_S):
                    await self._stopped.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepting.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def _config(app: ASGIApp, context: ssl.SSLContext | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=GuardedProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        loop="none",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        backlog=_BACKLOG,
        ssl_context_factory=None if context is None else lambda *_: context,
    )


def _bind(listen: Listen) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(
            (address[0], address[1]), family=family, backlog=_BACKLOG, dualstack_ipv6=address[0] == "::"
        )
    except OSError as error:
        reason = error.strerror or str(error)
        raise ListenError(f"Cannot listen on {listen.host} port {listen.port} (tcp): {reason}.") from error


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
