"""The cheapest HTTP/1.1 there is, for replies that come whole: the load must not be what is measured."""

import re
import socket
from dataclasses import dataclass
from types import TracebackType
from typing import Self

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes

    def require(self, *allowed: int) -> "Reply":
        """Raises `RuntimeError` with what was said instead."""
        if self.status not in allowed:
            raise RuntimeError(f"HTTP {self.status}: {self.body[:500].decode(errors='replace')}")
        return self


class Connection:
    """One connection and one question at a time, to 127.0.0.1."""

    def __init__(self, port: int, key: str, headers: str = "") -> None:
        """`headers`: whole lines, each with its end, that every question has."""
        self._head = f"HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n{headers}"
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._came = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def ask(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> Reply:
        self.send(method, path, body, kind)
        while (reply := self.read()) is None:
            pass
        return reply

    def send(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> None:
        extra = f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n" if body else ""
        self.socket.sendall(f"{method} {path} {self._head}{extra}\r\n".encode() + body)

    def read(self) -> Reply | None:
        """Take what has come; the reply once it is whole."""
        data = self.socket.recv(1 << 20)
        if not data:
            raise RuntimeError("the coordinator closed the connection")
        self._came += data
        head, found, rest = self._came.partition(b"\r\n\r\n")
        if not found:
            return None
        if _CHUNKED.search(head):
            if not rest.endswith(b"0\r\n\r\n"):
                return None
        else:
            length = _LENGTH.search(head)
            if len(rest) < (int(length[1]) if length else 0):
                return None
        self._came = b""
        return Reply(int(head.split(b" ", 2)[1]), rest)
