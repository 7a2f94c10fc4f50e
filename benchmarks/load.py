"""Closed-loop load over HTTP: a fixed number of clients, each asking its next question when the last is answered."""

import asyncio
import time
from dataclasses import dataclass

from benchmarks.sse import Answer, Client
from gogrid.client.local_grid import LocalGrid


@dataclass(frozen=True, slots=True)
class Load:
    answers: tuple[Answer, ...]
    total_s: float

    @property
    def tokens(self) -> int:
        return sum(answer.completion_tokens for answer in self.answers)

    @property
    def first_s(self) -> tuple[float, ...]:
        return tuple(answer.first_s for answer in self.answers)


def closed_loop(grid: LocalGrid, model: str, texts: list[str], max_tokens: int, clients: int) -> Load:
    """Ask every text once, `clients` at a time."""
    return asyncio.run(_closed_loop(grid, model, texts, max_tokens, clients))


async def _closed_loop(grid: LocalGrid, model: str, texts: list[str], max_tokens: int, clients: int) -> Load:
    waiting = iter(texts)
    answers: list[Answer] = []

    async def ask(client: Client) -> None:
        for text in waiting:
            answers.append(await client.chat(model, text, max_tokens))

    connected = [Client("127.0.0.1", grid.endpoint.plain_port, grid.admin_key) for _ in range(clients)]
    for client in connected:
        await client.connect()
    began = time.perf_counter()
    await asyncio.gather(*(ask(client) for client in connected))
    total = time.perf_counter() - began
    for client in connected:
        await client.close()
    return Load(tuple(answers), total)
