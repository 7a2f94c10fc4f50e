"""A network line on which whatever is waited for counts against a `Pace`: names, connecting, TLS, headers and bodies.

The timeouts of an HTTP library begin anew with every byte, also within headers; these do not. Asked to stop, it waits
for no byte either. Loaded only where somebody is asked: httpcore is some megabytes that an idle machine does not pay.
"""

import socket
import ssl
import time
from collections.abc import Callable, Iterable

import httpcore

from updates.client.pace import Pace

_LOOK_S = 0.25
"""So often somebody who waits for bytes looks whether to stop."""


class PacedBackend(httpcore.NetworkBackend):
    def __init__(self, pace: Pace, stopped: Callable[[], bool]) -> None:
        self._pace, self._stopped, self._lines = pace, stopped, httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """To the first of the host's addresses that answers."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        problem: Exception = httpcore.ConnectError("it has no address")
        for address in dict.fromkeys(str(each[4][0]) for each in found):
            limit = _limit(self._pace, timeout)
            try:
                line = self._lines.connect_tcp(address, port, limit, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                problem = error
            else:
                return _PacedLine(line, self._pace, self._stopped)
        raise problem


class _PacedLine(httpcore.NetworkStream):
    def __init__(self, line: httpcore.NetworkStream, pace: Pace, stopped: Callable[[], bool]) -> None:
        self._line, self._pace, self._stopped = line, pace, stopped

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        until = time.monotonic() + _limit(self._pace, timeout)
        while True:
            if self._stopped():
                raise httpcore.ReadError("it was stopped")
            left = until - time.monotonic()
            try:
                data = self._line.read(max_bytes, max(0.001, min(left, _LOOK_S)))
                break
            except httpcore.ReadTimeout:
                if left > _LOOK_S:
                    continue
                _limit(self._pace, timeout)
                raise
        self._pace.came(len(data), time.monotonic())
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._line.write(buffer, _limit(self._pace, timeout))

    def close(self) -> None:
        self._line.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        line = self._line.start_tls(ssl_context, server_hostname, _limit(self._pace, timeout))
        return _PacedLine(line, self._pace, self._stopped)

    def get_extra_info(self, info: str) -> object:
        return self._line.get_extra_info(info)


def _limit(pace: Pace, timeout: float | None) -> float:
    """Seconds that one step may take."""
    left = pace.left(time.monotonic())
    if left <= 0:
        raise httpcore.ReadTimeout(pace.problem)
    return left if timeout is None else min(left, timeout)
