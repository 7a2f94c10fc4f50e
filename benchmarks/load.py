"""Closed-loop load over HTTP: a fixed number of clients, each asking its next question when the last is answered."""

import time
from dataclasses import dataclass

from benchmarks.sse import Answer, Client, run
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
    connected = [Client("127.0.0.1", grid.endpoint.plain_port, grid.admin_key) for _ in range(clients)]
    try:
        began = time.perf_counter()
        answers = run(connected, model, iter(texts), max_tokens)
        return Load(tuple(answers), time.perf_counter() - began)
    finally:
        for client in connected:
            client.socket.close()
