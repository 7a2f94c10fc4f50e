"""A cheap HTTP/1.1 client for streamed answers: the load must not be what is measured.

One `Client` keeps one connection. It looks for the ends of events only, and parses no JSON but the last usage chunk.
"""

import asyncio
import json
import re
import time
from dataclasses import dataclass

_TEXT = re.compile(rb'"content":"[^"]')


@dataclass(frozen=True, slots=True)
class Answer:
    first_s: float
    """From sending the request to the first event that carries text."""
    total_s: float
    events: int
    completion_tokens: int


class Client:
    def __init__(self, host: str, port: int, key: str) -> None:
        self._host, self._port, self._key = host, port, key
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            await self._writer.wait_closed()

    async def chat(self, model: str, text: str, max_tokens: int) -> Answer:
        if self._reader is None or self._writer is None:
            raise RuntimeError("connect first")
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
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
            f"Authorization: Bearer {self._key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        began = time.perf_counter()
        self._writer.write(head + body)
        headers = await self._reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in headers.split(b"\r\n", 1)[0]:
            raise RuntimeError((headers + await self._reader.read(4096)).decode(errors="replace"))
        first, events, usage = 0.0, 0, 0
        while True:
            size = int((await self._reader.readuntil(b"\r\n")).strip(), 16)
            chunk = await self._reader.readexactly(size + 2)
            if size == 0:
                break
            if not first and _TEXT.search(chunk):
                first = time.perf_counter() - began
            events += chunk.count(b'"delta":{"content"')
            if b'"completion_tokens":' in chunk:
                usage = int(chunk.split(b'"completion_tokens":')[1].split(b",")[0].split(b"}")[0])
        return Answer(first, time.perf_counter() - began, events, usage)
