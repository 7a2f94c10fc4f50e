"""What the way through coordinator, QUIC and sandbox adds, with an engine that costs nothing: 20 chunks, 5 ms apart."""

from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks import bare
from benchmarks.figures import Figure
from benchmarks.load import closed_loop
from gogrid.client.local_grid import LocalGrid
from runner.executor.engines.base import Engine

CHUNKS = 20
TEXT = f"#echo chunks={CHUNKS} delay_ms=5\nhello"
FIRST_TOKEN_MS = 4.0
THROUGHPUT = 0.85
ROUNDS = 5
_CLIENTS = 16
_REQUESTS = 320


def measure(folder: Path) -> Iterator[Figure]:
    with LocalGrid(folder) as grid:
        grid.init()
        grid.add_model("echo")
        grid.start_coordinator()
        grid.start_worker()
        engine = bare.load("echo", "", 1)
        closed_loop(grid, "echo", [TEXT] * 32, CHUNKS, _CLIENTS)
        yield _first_token(grid, engine)
        yield _throughput(grid, engine)


def _first_token(grid: LocalGrid, engine: Engine) -> Figure:
    through: list[float] = []
    direct: list[float] = []
    for _ in range(ROUNDS):
        through += closed_loop(grid, "echo", [TEXT] * 20, CHUNKS, 1).first_s
        direct += bare.closed_loop(engine, [TEXT] * 20, CHUNKS, 1).first_s
    return Figure(
        what="added time to first token, one client, p50",
        value=(median(through) - median(direct)) * 1000,
        unit="ms",
        limit=FIRST_TOKEN_MS,
        at_least=False,
        detail=f"{median(through) * 1000:.2f} ms against {median(direct) * 1000:.2f} ms",
    )


def _throughput(grid: LocalGrid, engine: Engine) -> Figure:
    through, direct = [], []
    for _ in range(ROUNDS):
        through.append(_REQUESTS / closed_loop(grid, "echo", [TEXT] * _REQUESTS, CHUNKS, _CLIENTS).total_s)
        direct.append(_REQUESTS / bare.closed_loop(engine, [TEXT] * _REQUESTS, CHUNKS, _CLIENTS).total_s)
    return Figure(
        what=f"requests/s through the grid ÷ bare engine, {_CLIENTS} clients",
        value=median(through) / median(direct),
        unit="of it",
        limit=THROUGHPUT,
        detail=f"{median(through):.0f} against {median(direct):.0f} requests/s, medians of {ROUNDS} turns",
    )
