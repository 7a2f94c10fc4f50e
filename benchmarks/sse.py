"""A cheap HTTP/1.1 client for streamed answers: the load must not be what is measured.

One `Client` is one connection and one question at a time. It looks for the ends of events only and parses no JSON but
the last usage chunk. `run` drives many of them with one selector and no event loop.
"""

import json
import re
import selectors
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

_TEXT = re.compile(rb'"content":"[^"]')
_TOKENS = re.compile(rb'"completion_tokens":(\d+)')
_END = b"data: [DONE]\n\n"
_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Answer:
    first_s: float
    """From sending the request to the first event that carries text."""
    total_s: float
    completion_tokens: int


class Client:
    def __init__(self, host: str, port: int, key: str) -> None:
        self._head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}:{port}\r\n"
            f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        )
        self.socket = socket.create_connection((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._began = self._first = 0.0
        self._tail = b""
        self._tokens = 0

    def ask(self, model: str, text: str, max_tokens: int) -> None:
        body = json.dumps(
            {
                "model": model,
                "messages": [{"role": "user", "content": text}],
                "stream": True,
                "stream_options": {"include_usage": True},
                "temperature": 0,
                "max_tokens": max_tokens,
            }
        ).encode()
        self._first, self._tail, self._tokens = 0.0, b"", 0
        self._began = time.perf_counter()
        self.socket.sendall(f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def heard(self, data: bytes, now: float) -> None:
        """For a client that wants to know more of what comes."""

    def read(self) -> Answer | None:
        """Take what has come; the answer once it is whole."""
        data = self.socket.recv(1 << 16)
        now = time.perf_counter()
        if not data:
            raise RuntimeError(f"the connection ended: {self._tail.decode(errors='replace')}")
        self.heard(data, now)
        if not self._first and _TEXT.search(data):
            self._first = now - self._began
        if found := _TOKENS.search(data):
            self._tokens = int(found[1])
        self._tail = (self._tail + data)[-2048:]
        if _END in self._tail and self._tail.endswith(b"0\r\n\r\n"):
            return Answer(self._first, now - self._began, self._tokens)
        if b"HTTP/1.1 " in data and b"HTTP/1.1 200" not in data:
            raise RuntimeError(data.decode(errors="replace"))
        return None


def run(clients: list[Client], model: str, texts: Iterator[str], max_tokens: int) -> list[Answer]:
    """Every client asks its next question when its last is answered, until there are no more texts."""
    answers: list[Answer] = []
    with selectors.DefaultSelector() as selector:
        for client, text in zip(clients, texts, strict=False):
            selector.register(client.socket, selectors.EVENT_READ, client)
            client.ask(model, text, max_tokens)
        while selector.get_map():
            ready = selector.select(_PATIENCE_S)
            if not ready:
                raise RuntimeError(f"nothing came for {_PATIENCE_S:.0f} s")
            for key, _ in ready:
                answer = key.data.read()
                if answer is None:
                    continue
                answers.append(answer)
                upcoming = next(texts, None)
                if upcoming is None:
                    selector.unregister(key.fileobj)
                else:
                    key.data.ask(model, upcoming, max_tokens)
    return answers
