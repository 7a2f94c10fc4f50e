"""Output tokens per second through HTTP, coordinator, QUIC and sandbox, against the same engine called directly.

Both sides answer the same prompts greedily, so that they make the same tokens. They take turns, each first in every
other pair, and what counts is the median of the pairs' ratios: a machine that is slower for a while is slower for both.
Both are started anew several times, because a process keeps for life the memory it was dealt: two bare engines beside
each other differ by up to a twentieth, the same way in every turn.
"""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

import msgspec

from benchmarks.bare import Bare
from benchmarks.figures import Figure
from benchmarks.load import Load, closed_loop
from gogrid.client.demo.steps import CHAT_MODEL, model_sources
from gogrid.client.local_grid import LocalGrid

GOAL = 0.95
STARTS = 6
PAIRS = 4
"""Of turns, for each number of clients, after each start."""
MAX_TOKENS = 64
EACH = 1
"""Questions a client asks in one turn: many short turns tell more than a few long ones."""
CLIENTS = (1, 16)
_TOPICS = ("a lighthouse", "a train", "the sea", "a small dog", "winter", "a violin", "the moon", "a garden")


@dataclass(frozen=True, slots=True)
class _Pair:
    """Tokens per second in two turns, one after the other."""

    through: float
    direct: float


def measure(folder: Path) -> Iterator[Figure]:
    pairs: dict[int, list[_Pair]] = {clients: [] for clients in CLIENTS}
    with LocalGrid(folder) as grid:
        grid.init()
        source = next(source for source in model_sources() if source.name == CHAT_MODEL)
        grid.add_model(CHAT_MODEL, source.path)
        for _ in range(STARTS):
            grid.start_coordinator()
            grid.start_worker()
            closed_loop(grid, CHAT_MODEL, texts(1), 8, 1)
            with _BareEngine(grid) as bare:
                for clients in CLIENTS:
                    pairs[clients] += [_pair(grid, bare, clients, number) for number in range(PAIRS)]
            grid.stop()
    for clients in CLIENTS:
        yield _figure(pairs[clients], clients)


def texts(count: int) -> list[str]:
    return [f"Write a story about {_TOPICS[number % len(_TOPICS)]}, number {number}." for number in range(count)]


def _pair(grid: LocalGrid, bare: "_BareEngine", clients: int, number: int) -> _Pair:
    if number % 2:
        run = bare.closed_loop(clients)
        load = _through(grid, clients)
    else:
        load = _through(grid, clients)
        run = bare.closed_loop(clients)
    if run.tokens != load.tokens:
        raise RuntimeError(f"the grid made {load.tokens} tokens, the bare engine {run.tokens}: not the same work")
    return _Pair(through=load.tokens / load.total_s, direct=run.tokens / run.total_s)


def _figure(pairs: list[_Pair], clients: int) -> Figure:
    low, middle, high = quantiles([pair.through / pair.direct for pair in pairs], n=4)
    speeds = f"{median(p.through for p in pairs):.1f} against {median(p.direct for p in pairs):.1f} tokens/s"
    return Figure(
        what=f"output tokens/s through the grid ÷ bare engine, {clients} at once",
        value=middle,
        unit="of it",
        limit=GOAL,
        detail=f"{speeds}, {len(pairs)} pairs of turns after {STARTS} starts, half of them {low:.3f} to {high:.3f}",
    )


def _through(grid: LocalGrid, clients: int) -> Load:
    return closed_loop(grid, CHAT_MODEL, texts(clients * EACH), MAX_TOKENS, clients)


class _BareEngine:
    """The engine in a process of its own, loaded from the same converted files and with as many threads."""

    def __init__(self, grid: LocalGrid) -> None:
        self._model = grid.folder / "worker" / "models"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "_BareEngine":
        model = next(path.parent for path in self._model.rglob("model.safetensors"))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.bare_process", str(model), str(MAX_TOKENS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()

    def closed_loop(self, clients: int) -> Bare:
        if self._process is None or self._process.stdin is None:
            raise RuntimeError("enter first")
        self._process.stdin.write(f"{clients}\n".encode())
        self._process.stdin.flush()
        return msgspec.json.decode(self._answer(), type=Bare)

    def _answer(self) -> bytes:
        if self._process is None or self._process.stdout is None:
            raise RuntimeError("enter first")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the bare engine's process ended")
        return line
